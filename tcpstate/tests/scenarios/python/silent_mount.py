"""A file system of its own (FUSE), seen by everybody who has the mount namespace, that keeps a network namespace without a process by a mount
in it, and answers nothing any more once it says READY. It believes no name for longer than it was asked, so that whoever goes by the
path asks it again. Ends with its standard input, and after 40 s in any case: who asked it waits that long, and no signal ends that.
"""

import ctypes
import os
import signal
import struct
import subprocess
import sys
import threading

LOOKUP, FORGET, GETATTR, OPEN, RELEASE, FLUSH, INIT, INTERRUPT, BATCH_FORGET = 1, 2, 3, 14, 18, 25, 26, 36, 42
ROOT, FILE = 1, 2
NOSUID_NODEV = 6

directory = sys.argv[1]
signal.alarm(40)
libc = ctypes.CDLL(None, use_errno=True)
device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
options = f"fd={device},rootmode=40755,user_id=0,group_id=0,allow_other".encode()
if libc.mount(b"silent", directory.encode(), b"fuse", NOSUID_NODEV, options) != 0:
    sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
silent = threading.Event()


def attributes(node):
    mode = 0o40755 if node == ROOT else 0o100755
    return struct.pack("<6Q10I", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(operation, node, name):
    """The error and the answer of `linux/fuse.h`, version 7.31."""
    if operation == INIT:
        return 0, struct.pack("<4I2H2I", 7, 31, 1 << 17, 0, 16, 12, 1 << 17, 1).ljust(64, b"\0")
    if operation == LOOKUP:
        return (0, struct.pack("<4Q2I", FILE, 0, 0, 0, 0, 0) + attributes(FILE)) if name == b"net" else (-2, b"")
    if operation == GETATTR:
        return 0, struct.pack("<Q2I", 0, 0, 0) + attributes(node)
    if operation == OPEN:
        return 0, bytes(16)
    return (0, b"") if operation in (FLUSH, RELEASE) else (-38, b"")


def serve():
    while True:
        request = os.read(device, 1 << 20)
        _, operation, unique, node = struct.unpack("<2I2Q", request[:24])
        if silent.is_set() or operation in (FORGET, BATCH_FORGET, INTERRUPT):
            continue
        error, body = answer(operation, node, request[40:].split(b"\0")[0])
        os.write(device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)


threading.Thread(target=serve, daemon=True).start()
subprocess.check_call(["unshare", "--net", "sh", "-c", 'mount --bind /proc/self/ns/net "$0/net"', directory])
silent.set()
print("READY", flush=True)
sys.stdin.read()
os._exit(0)
