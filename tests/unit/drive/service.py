"""A small service for the drill tests: main process, workers, log, signals; faults on demand.

Arguments: PORT LOG WORKERS [FAULT...]. HUP renews the workers, USR1 opens the log anew, QUIT lets
what is in flight finish and ends with status 0.
"""

import os
import signal
import socket
import sys
import threading
import time

FAULTS = set(sys.argv[4:])
LOG = sys.argv[2]


def open_log() -> int:
    return os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Worker:
    def __init__(self, listening: socket.socket) -> None:
        self.log = open_log()
        self.busy = 0
        self.leaving = False
        signal.signal(signal.SIGUSR1, self.reopen)
        signal.signal(signal.SIGQUIT, self.leave)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        listening.settimeout(0.02)
        while not self.leaving:
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            self.busy += 1
            threading.Thread(target=self.answer, args=[connection], daemon=True).start()
        listening.close()
        while self.busy and "drops-in-flight" not in FAULTS:
            time.sleep(0.01)
        os._exit(0)

    def reopen(self, *_: object) -> None:
        if "keeps-log" not in FAULTS:
            self.log = open_log()

    def leave(self, *_: object) -> None:
        self.leaving = True

    def answer(self, connection: socket.socket) -> None:
        try:
            data = b""
            connection.settimeout(5)
            while b"\r\n\r\n" not in data:
                chunk = connection.recv(4096)
                if not chunk:
                    return
                data += chunk
            os.write(self.log, data.split(b"\r\n")[0] + b"\n")
            status = b"500 No" if "answers-500" in FAULTS else b"200 OK"
            length = 9 if "breaks-off" in FAULTS else 5
            connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\nhello" % (status, length))
        except OSError:
            pass
        finally:
            connection.close()
            self.busy -= 1


def start_workers(listening: socket.socket) -> set[int]:
    pids = set()
    for _ in range(int(sys.argv[3])):
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            Worker(listening)
        pids.add(pid)
    return pids


SIGNALS = {signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT, signal.SIGTERM}


def main() -> None:
    if "dies-at-start" in FAULTS:
        print("cannot find my configuration", flush=True)
        sys.exit(1)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if "never-ready" in FAULTS:
        time.sleep(60)
    listening.bind(("127.0.0.1", int(sys.argv[1])))
    listening.listen(64)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pids = start_workers(listening)
    print("service is up", flush=True)
    while True:
        number = signal.sigwait(SIGNALS)
        if number == signal.SIGHUP and "dies-on-hup" in FAULTS:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == signal.SIGHUP and "ignores-hup" not in FAULTS:
            old, pids = pids, start_workers(listening)
            end(old)
            if "executes-itself" in FAULTS:  # or seems to: a signal in this moment is its end
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
                time.sleep(0.2)
                signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if number == signal.SIGUSR1:
            for pid in pids:
                os.kill(pid, signal.SIGUSR1)
        if number == signal.SIGQUIT:
            listening.close()
            end(pids)
            sys.exit(3 if "ends-with-3" in FAULTS else 0)
        if number == signal.SIGTERM:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            os._exit(1)


def end(pids: set[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGQUIT)
    for pid in pids:
        os.waitpid(pid, 0)


main()
