"""Leaks connections that nobody reads, while a thread of it waits for work.

Says LEAKED, then TRUTH with a JSON list of the frames that the thread waits in, innermost first.
"""

import json
import queue
import socket
import sys
import threading
import time

listener = socket.create_server(("127.0.0.1", 0), backlog=64)
jobs = queue.Queue()


class Worker(threading.Thread):
    def run(self):
        for job in self.incoming():
            job()

    def incoming(self):
        while True:
            yield self.next_job()

    def next_job(self):
        return jobs.get()


def frames_of(thread):
    frames, frame = [], sys._current_frames()[thread.ident]
    while frame:
        code = frame.f_code
        frames.append([getattr(code, "co_qualname", code.co_name), code.co_filename, frame.f_lineno])
        frame = frame.f_back
    return frames


worker = Worker(daemon=True)
worker.start()
pool = [socket.create_connection(listener.getsockname()) for _ in range(3)]
for _ in pool:
    listener.accept()[0].close()
time.sleep(0.2)
print("LEAKED", len(pool), flush=True)
print("TRUTH", json.dumps(frames_of(worker)), flush=True)
sys.stdin.readline()
