"""Blocks in functions that call each other in all ways, and tells of each thread where it is."""
import functools
import os
import sys
import threading
import traceback

pipe = os.pipe()
told = threading.Lock()


def tell(frame):
    frames = [(line, frame.f_code) for frame, line in traceback.walk_stack(frame)]
    with told:
        print("thread", threading.get_ident(), threading.get_native_id(), len(frames))
        for line, code in frames:
            print(line, code.co_filename, getattr(code, "co_qualname", code.co_name), sep="\t")
        sys.stdout.flush()


def block():
    tell(sys._getframe()); os.read(pipe[0], 1)


def recurse(depth, then):
    if depth:
        return recurse(
            depth - 1,
            then,
        )
    return then()


def generate(then):
    yield 1
    yield then()


def delegate(then):
    yield from generate(then)


def by_map():
    return list(map(lambda number: recurse(number, block), [3]))


def by_reduce():
    return functools.reduce(lambda one, other: other, delegate(by_map))


def local_class(then):
    class Größe:
        def __init__(self, then):
            self.value = then and then()

        def __enter__(self):
            return sorted([1], key=self.measure)

        def measure(self, _):
            return [recurse(1, by_reduce) for _ in (1,)]

        def __exit__(self, *_):
            pass

    # An interpreter calls a constructor that was called often without native code in between.
    for _ in range(500):
        Größe(None)
    made = Größe
    for then in [None] * 500 + [then]:
        made(then)
    return Größe


def by_exec():
    space = {"then": by_reduce}
    exec(compile("\n" * 300 + "def made(): return then()\nmade()", "<made>", "exec"), space)


async def sleeper(then):
    return then()


async def awaits(then):
    return await sleeper(then)


def by_coroutine():
    try:
        awaits(block).send(None)
    except StopIteration:
        pass


def by_with():
    with local_class(None)(None):
        pass


class Runs(threading.Thread):
    def run(self):
        by_with()


threads = [
    Runs(daemon=True),
    threading.Thread(target=lambda: local_class(block), daemon=True),
    threading.Thread(target=by_exec, daemon=True),
    threading.Thread(target=by_coroutine, daemon=True),
]
# More instructions, and lines that are further apart, than one entry of a table tells.
text = "def long_function():\n" + "    x = [1, 2, 3]\n" * 300 + "\n" * 400 + "    block()\n" + "    x = 1\n" * 10
exec(compile(text, "<long>", "exec"))
threads.append(threading.Thread(target=long_function, daemon=True))
for thread in threads:
    thread.start()
recurse(2, block)
