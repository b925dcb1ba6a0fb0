"""Clients of Python's http.client, which keep their connections.

Each prints a line for every request: "ok PID SECONDS" or "lost KIND PID TEXT".
They end when their standard input does, after one more request each.
"""
import http.client
import random
import socket
import sys
import threading
import time

host, port, clients, pause, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
printing = threading.Lock()
over = threading.Event()


def say(*words):
    with printing:
        print(*words, flush=True)


def client(number):
    rand = random.Random(seed * 1000 + number)
    conn, pid = http.client.HTTPConnection(host, port, timeout=60), 0
    last = False
    while not last:
        last = over.is_set()
        time.sleep(pause * rand.uniform(0.9, 1.1))
        began = time.monotonic()
        try:
            if conn.sock is None:
                pid = 0
                conn.connect()
            conn.request("POST", "/", b"ping\n")
            answer = conn.getresponse()
            if answer.read() != b"pong\n" or answer.status != 200:
                raise ValueError("another answer")
            pid = answer.getheader("Server-Pid", 0)
            say("ok", pid, time.monotonic() - began)
        except (OSError, http.client.HTTPException, ValueError) as err:
            kind = "connect" if isinstance(err, ConnectionRefusedError) else "request" if pid else "first"
            say("lost", kind, pid, type(err).__name__)
            conn.close()


threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
for t in threads:
    t.start()
sys.stdin.read()
over.set()
for t in threads:
    t.join()
