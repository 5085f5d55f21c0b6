"""What processes use of the machine, from /proc."""

import os
import re
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """User and system time of a process with its ended children; of one that has just ended, which its parent counts from now on, nothing."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(value) for value in fields[11:15]) / TICK


def cpu_seconds_of_thread(pid, name):
    """Of the threads of that name, as the kernel cuts it."""
    used = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        head, _, fields = (thread / "stat").read_text().rpartition(")")
        if head.split("(", 1)[1] == name[:15]:
            used += sum(int(value) for value in fields.split()[11:13])
    return used / TICK


def cpu_seconds_of_tree(pid):
    """A process and its children, ended or not."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu_seconds(pid) + sum(cpu_seconds(int(child)) for child in children)


def pss_mb(pid):
    """Memory, what is shared counted by share."""
    return int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1]) / 1024
