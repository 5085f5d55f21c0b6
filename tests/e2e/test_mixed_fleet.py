"""examples/fleet/run, the mixed fleet that a user starts with one command: C and Python in one operation, sealed, and in one trace."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from support.processes import clean_environment
from support.python_workers import interpreter
from support.seal import unseal

ROOT = Path(__file__).resolve().parents[2]


def depth(line):
    """How deep a line of a printed tree stands."""
    return len(re.match(r"[│├└─ ]*", line).group()) // 3


def nested(tree):
    """[(name without its uuid, name of its parent or None)] of a printed tree, in its order."""
    above, found = [], []
    for line in tree.splitlines()[1:]:
        name = re.sub(r"\[[0-9a-f-]{36}\]", "", line.lstrip("│├└─ ")).split("  ")[0]
        del above[depth(line):]
        found.append((name, above[-1] if above else None))
        above.append(name)
    return found


@pytest.mark.timeout(180)
def test_the_mixed_fleet(kafka, prefix, binaries, tmp_path):
    interpreter()
    done = subprocess.run([ROOT / "examples" / "fleet" / "run", "--bin", binaries, "--brokers", kafka.brokers, "--dir", tmp_path / "fleet"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=170,
                          env=clean_environment(KSER_TOPIC_PREFIX=prefix))
    logs = "".join(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}\n" for log in (tmp_path / "fleet").glob("*-worker.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    dice, yahtzee = re.findall(r"^trace .*?(?=\n\n|\Z)", done.stdout, re.S | re.M)
    steps = [("DiceRoll - PreRun", "DiceRoll - Execute"), ("DiceRoll - Run", "DiceRoll - Execute"), ("DiceRoll - PostRun", "DiceRoll - Execute")]
    assert nested(dice) == [("dice - Execute", None), *([("DiceRoll - Execute", "dice - Execute"), *steps] * 3)]
    assert [name for name, parent in nested(yahtzee) if parent == "yahtzee - Execute" and name == "DiceRoll - Execute"] == ["DiceRoll - Execute"] * 9, yahtzee
    assert len(re.findall("You made a [1-6] in Python", done.stdout)) >= 7
    key = (tmp_path / "fleet" / "key").read_text()
    topics = [name for name in kafka.admin().list_topics(timeout=10).topics if name.startswith(prefix)]
    opened = [json.loads(unseal([key], record.value())) for topic in topics for record in kafka.read(topic)]
    rolls = [message["metadata"] for message in opened if message["entrypoint"] == "jobs.DiceRoll" and "worker" in message["metadata"]["kser"]]
    assert sorted(said["kser"].get("queue", "") for said in rolls) == [""] * 5 + ["py"] * 7 and all(said["traceparent"] for said in rolls)
    assert not os.path.exists(tmp_path / "fleet" / "stack" / "env"), "nothing is left running"


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    done = subprocess.run([ROOT / "examples" / "fleet" / "run", "--dir", tmp_path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1 and f"--dir {tmp_path}: is not empty" in done.stderr and (tmp_path / "thesis.txt").read_text()


@pytest.mark.parametrize("there, missing", [([], "kser, kser-orchestrator, dice-worker"), (["kser", "kser-orchestrator"], "dice-worker")])
def test_a_program_that_is_missing_is_named(tmp_path, there, missing):
    for name in there:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run([ROOT / "examples" / "fleet" / "run", "--bin", tmp_path, "--dir", tmp_path / "fleet"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, f"fleet: --bin {tmp_path}: there is no program {missing}\n")
    assert not (tmp_path / "fleet").exists()
