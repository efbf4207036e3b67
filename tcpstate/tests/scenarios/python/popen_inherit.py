"""A server whose connections a helper inherits; the server closes its own descriptors well.

For every N connections says HELPER and the pid of the process that it starts, then, when its own
descriptors are closed, CLOSED.

argv: N
"""

import socket
import subprocess
import sys


def accept_inheritable(listener):
    connection, _ = listener.accept()
    connection.set_inheritable(True)
    return connection


def start_helper():
    # BUG: close_fds=False, so the helper holds every connection until it ends.
    return subprocess.Popen(["sleep", "60"], close_fds=False)


def serve(listener, count):
    connections = [accept_inheritable(listener) for _ in range(count)]
    helper = start_helper()
    print("HELPER", helper.pid, flush=True)
    for connection in connections:
        while connection.recv(100):
            pass
        connection.close()
    print("CLOSED", flush=True)
    return helper


listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print("PORT", listener.getsockname()[1], flush=True)
helpers = []
while True:
    helpers.append(serve(listener, int(sys.argv[1])))
