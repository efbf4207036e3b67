"""A terminal's session for `tcpstate run`, and commands that leave it otherwise than they found it.

    terminal.py lead FILE COMMAND...   runs COMMAND as a foreground job, as a shell does, but puts nothing right after it. Writes into
                                       FILE, one object a line, its pid, what became of it and how the terminal is then. A job that is
                                       stopped is continued in the foreground.
    terminal.py raw OWN END            sets raw modes; OWN makes itself the foreground process group (`own`), or does not (`same`);
                                       then END: `exit`, `kill` (itself, by SIGKILL), `wait` (for what comes)
    terminal.py count OWN              says how many SIGINTs came until half a second after the first; OWN is a process group in the
                                       background (`own`), a session (`session`), or nothing (`same`)
    terminal.py stop                   waits to be stopped and continued, and says so
"""

import json
import os
import signal
import sys
import termios
import time
import tty

TERMINAL = 0


def put_in_front(group):
    """Makes a process group the foreground one, also from the background."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
    os.tcsetpgrp(TERMINAL, group)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTTOU])


def lead(file, command):
    modes = termios.tcgetattr(TERMINAL)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        put_in_front(os.getpid())
        os.execv(command[0], command)
    with open(file, "w", buffering=1) as out:
        print(json.dumps({"job": job}), file=out)
        while True:
            _, status = os.waitpid(job, os.WUNTRACED)
            front = os.tcgetpgrp(TERMINAL)
            told = {
                "stopped": os.WIFSTOPPED(status),
                "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
                "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
                "job_in_front": front == job,
                "modes_as_before": termios.tcgetattr(TERMINAL) == modes,
            }
            print(json.dumps(told), file=out)
            if not os.WIFSTOPPED(status):
                return
            put_in_front(job)
            os.killpg(job, signal.SIGCONT)


def raw(own, end):
    if own == "own":
        os.setpgid(0, 0)
        put_in_front(os.getpid())
    # Keys still send signals.
    tty.setcbreak(TERMINAL)
    print("ready", flush=True)
    if end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "wait":
        # One long sleep would begin after a signal that came just before it, and not notice.
        for _ in range(600):
            time.sleep(0.1)
        sys.exit(1)


def count(own):
    if own == "own":
        os.setpgid(0, 0)
    if own == "session":
        os.setsid()
    came = []
    signal.signal(signal.SIGINT, lambda *_: came.append(time.monotonic()))
    print("ready", flush=True)
    deadline = time.monotonic() + 60
    while not came and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    print("SIGINT came", len(came), "times", flush=True)
    sys.exit(7)


def stop():
    continued = []
    signal.signal(signal.SIGCONT, lambda *_: continued.append(True))
    print("ready", flush=True)
    deadline = time.monotonic() + 60
    while not continued and time.monotonic() < deadline:
        time.sleep(0.05)
    print("continued" if continued else "never continued", flush=True)


if sys.argv[1] == "lead":
    lead(sys.argv[2], sys.argv[3:])
else:
    {"raw": raw, "count": count, "stop": stop}[sys.argv[1]](*sys.argv[2:])
