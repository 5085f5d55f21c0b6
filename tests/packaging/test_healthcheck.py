"""The image's health check: it looks for established connections in its own network namespace."""

import os
import socket
import subprocess
from pathlib import Path

CHECK = Path(__file__).resolve().parents[2] / "packaging" / "healthcheck"


def test_healthy_with_a_connection():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        assert subprocess.run([CHECK]).returncode == 0


def test_unhealthy_without_one():
    alone = ["unshare", "--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    assert subprocess.run([*alone, CHECK]).returncode == 1


def test_a_listening_socket_is_not_a_connection():
    alone = ["unshare", "--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    script = "import socket, subprocess, sys; s = socket.create_server(('0.0.0.0', 0)); sys.exit(subprocess.run(sys.argv[1:]).returncode)"
    assert subprocess.run([*alone, "/usr/bin/python3", "-c", script, CHECK]).returncode == 1
