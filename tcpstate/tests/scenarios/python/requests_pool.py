"""A requests.Session with a keep-alive pool: idle after a burst; the server closes, nobody looks.

Each line on standard input is a burst of N parallel requests; says DONE after each.

argv: URL, N
"""

import sys
import threading

import requests
from requests.adapters import HTTPAdapter

url, count = sys.argv[1], int(sys.argv[2])
session = requests.Session()
session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=count))
gate = threading.Barrier(count)


def fetch_status():
    gate.wait()
    return session.get(url, stream=False).status_code


def burst():
    threads = [threading.Thread(target=fetch_status) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


print("READY", flush=True)
for _ in sys.stdin:
    burst()
    print("DONE", flush=True)
