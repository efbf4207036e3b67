"""Leaks connections from functions of many kinds, and says where each was when it opened one and was told of its end.

Says READY, waits for a line, says of each socket OPENED and TOLD with a JSON list of frames, innermost first, then LEAKED with how
many there are.
"""

import asyncio
import functools
import json
import socket
import sys
import threading

listener = socket.create_server(("127.0.0.1", 0), backlog=64)
keep = []


def close_all():
    while True:
        listener.accept()[0].close()


def say(what):
    frames, frame = [], sys._getframe(1)
    while frame:
        code = frame.f_code
        frames.append([getattr(code, "co_qualname", code.co_name), code.co_filename, frame.f_lineno])
        frame = frame.f_back
    print(what, json.dumps(frames), flush=True)


def leak():
    client = socket.socket()
    keep.append(client)
    say("OPENED"); client.connect(listener.getsockname())
    say("TOLD"); client.recv(1)


def billing():
    leak()


def search():
    leak()


def deep(depth):
    return deep(depth - 1) if depth else leak()


def generated():
    yield 1
    yield leak()


def mapped():
    return list(map(lambda _: leak(), [1]))


def reduced():
    return functools.reduce(lambda one, other: other, generated())


class Client:
    def fetch(self):
        with self:
            pass

    def __enter__(self):
        return leak()

    def __exit__(self, *_):
        return False


async def awaited(depth):
    await asyncio.sleep(0)
    return await awaited(depth - 1) if depth else leak()


def run_coroutine():
    asyncio.run(awaited(3))


def in_thread():
    thread = threading.Thread(target=billing)
    thread.start()
    thread.join()


threading.Thread(target=close_all, daemon=True).start()
print("READY", flush=True)
sys.stdin.readline()
scenes = [billing, search, lambda: deep(5), mapped, reduced, Client().fetch, run_coroutine, in_thread]
for scene in scenes:
    for _ in range(2):
        scene()
print("LEAKED", len(keep), flush=True)
sys.stdin.readline()
