"""Tests with the real kser. Its lock files go to a folder of their own, before it is imported."""

import os
import sys
import tempfile
from pathlib import Path

LOCKS = tempfile.TemporaryDirectory(prefix="kser-adapter-")
os.environ["LOCK_PATH"] = LOCKS.name
for name in ("RUNNING_FILE", "LOCK_FILE", "TERMINATE_FILE", "KSER_SECRETBOX_KEY", "KSER_SECRETBOX_KEY_FILE", "KSER_TOPIC_PREFIX", "KSER_QUEUE"):
    os.environ.pop(name, None)
os.environ["RUNNING_FILE"] = os.path.join(LOCKS.name, "run")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
