"""A client and its tests, as they are in any project. LEAK=1 brings the bug back: the client does not close when it is told of
the end."""

import os
import socket
import threading

import pytest


def fetch(address):
    """What the server says until it closes."""
    connection = socket.create_connection(address)
    said = b""
    while received := connection.recv(4096):
        said += received
    if "LEAK" in os.environ:
        # Keeps the object alive, and its descriptor with it.
        LEAKED.append(connection)
    else:
        connection.close()
    return said


LEAKED = []


@pytest.fixture
def server():
    """Greets and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            connection.sendall(b"hello")
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        thread.join()


def test_fetch(server):
    assert fetch(server) == b"hello"


def test_fetch_again(server):
    assert fetch(server).startswith(b"h")
