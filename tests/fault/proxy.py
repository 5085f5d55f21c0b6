"""A TCP proxy that misbehaves on demand, between a program and its server.

Each connection has two threads, one for each direction. What it does is one attribute, read for every piece that passes:

    pass       nothing
    slow       every piece waits for `delay()` seconds
    frozen     pieces wait, both sides stay open: a half-open connection
    unknown    after every `every`th answer of the server it resets both sides without delivering it: the server has done what
               was asked for, the client does not know
"""

import random
import socket
import struct
import threading
import time

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST


class Proxy:
    def __init__(self, target, seed=0):
        """`target`: (host, port), or the path of a server's socket."""
        self.target = target
        self.mode = "pass"
        self.delays = (0.05, 0.2)
        self.every = 20
        self.answers = 0
        self.cuts = 0
        self.lock = threading.Lock()
        self.random = random.Random(seed)
        self.pairs = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self.listener.getsockname()[1]
        self.closed = False
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.closed = True
        self.listener.close()
        self.cut()

    def cut(self):
        """Resets every connection: how many there were."""
        with self.lock:
            pairs, self.pairs = self.pairs, set()
        for pair in pairs:
            reset(pair)
        self.cuts += len(pairs)
        return len(pairs)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = self.reach()
            except OSError:
                client.close()
                continue
            pair = (client, server)
            for end in pair:  # before others know the pair and may close it
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.pairs.add(pair)
            for source, sink, answers in ((client, server, False), (server, client, True)):
                threading.Thread(target=self.carry, args=(pair, source, sink, answers), daemon=True).start()

    def reach(self):
        return socket.create_connection(self.target, timeout=5)

    def carry(self, pair, source, sink, answers):
        try:
            source.settimeout(None)
            while piece := source.recv(65536):
                if not self.admit(pair, answers):
                    return
                sink.sendall(piece)
        except OSError:
            pass
        self.end(pair)

    def admit(self, pair, answers):
        """False: the connection was reset instead."""
        mode = self.mode
        if mode == "slow":
            time.sleep(self.random.uniform(*self.delays) / 2)  # a round trip passes twice
        while self.mode == "frozen" and not self.closed and pair in self.pairs:
            time.sleep(0.02)
        if mode == "unknown" and answers and self.is_due():
            self.cuts += 1
            reset(pair)
            self.end(pair)
            return False
        return True

    def is_due(self):
        with self.lock:
            self.answers += 1
            return self.answers % self.every == 0

    def end(self, pair):
        with self.lock:
            self.pairs.discard(pair)
        for side in pair:
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            side.close()


def reset(pair):
    for side in pair:
        try:
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            side.shutdown(socket.SHUT_RD)
            side.close()
        except OSError:
            pass
