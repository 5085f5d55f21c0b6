"""Free ports for servers that tests stop and start again."""

import random
import socket


def free_port():
    """A port below those of outgoing connections: a client that keeps trying to reach a stopped server could
    otherwise be given the server's own port, and keep it."""
    for _ in range(1000):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError("no free port between 20000 and 32000")
