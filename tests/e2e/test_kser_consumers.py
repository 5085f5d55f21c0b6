"""The consumers' vectors of the Python library kser (tests/kser/transport.json): the records that one was given, and which it ran.
A worker in C is given the same ones. docs/compatibility.md names those where it does something else."""

import base64
import json
import re
from pathlib import Path

from support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
CASES = json.loads((ROOT / "tests" / "kser" / "transport.json").read_text())["cases"]
PAGE = (ROOT / "docs" / "compatibility.md").read_text()
HELLO = "[entrypoint jobs.Hello]\ncommand = echo Hello {name}\nrequired = name\n"


def named(*marks):
    """The vectors in rows of the page whose column "here" begins with one of the marks."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| `transport`")]
    return {name for cells in rows if cells[3].startswith(marks) for name in re.findall(r"`([^`]+)`", cells[1])}


def feed(case, number):
    """The records of a vector, with a uuid of its own in place of the one that all have."""
    values = [None if value is None else base64.b64decode(value) for value in case["feed_base64"]]
    return [value and re.sub(rb'"uuid": "[^"]*"', b'"uuid": "vector-%d"' % number, value) for value in values]


def ran(case):
    """How many messages kser's consumer handed to its controller that could be read."""
    return sum(call["call"] == "controller.run" and isinstance(call["args"][0], dict) for call in case["calls"])


def commits_first(case):
    calls = [call["call"] for call in case["calls"]]
    return "commit" in calls and calls.index("commit") < calls.index("controller.run")


def reports(kafka, prefix):
    """([uuids of the results], {partition: dead letters})."""
    results, dead = [], {}
    for record in kafka.read(f"{prefix}.results"):
        message = json.loads(record.value())
        said = message["metadata"].get("kser", {})
        if said.get("kind") == "dead":
            dead[said["partition"]] = dead.get(said["partition"], 0) + 1
        elif said.get("kind", "result") == "result":
            assert message["result"]["stdout"] == "Hello C\u00e9dric\n", message
            results.append(message["uuid"])
    return results, dead


def test_what_a_consumer_runs(kafka, prefix, processes, tmp_path):
    cases = [case for case in CASES if case["do"] == "consume" and not any(isinstance(value, int) for value in case["feed_base64"])]
    kafka.create(f"{prefix}.tasks", len(cases))
    for name in ("results", "control"):
        kafka.create(f"{prefix}.{name}")
    for number, case in enumerate(cases):
        kafka.produce(f"{prefix}.tasks", feed(case, number), number)
    (tmp_path / "worker.ini").write_text(HELLO)
    worker = processes.start("kser-worker", "--config", tmp_path / "worker.ini", environment={"KSER_BROKERS": kafka.brokers, "KSER_TOPIC_PREFIX": prefix})
    wait_until(lambda: kafka.committed(f"{prefix}.tasks", f"{prefix}.workers") == [len(case["feed_base64"]) for case in cases], 60, "the offset behind all records")
    assert worker.running
    results, dead = reports(kafka, prefix)
    same = []
    for number, case in enumerate(cases):
        runs = results.count(f"vector-{number}")
        assert runs + dead.get(number, 0) == len(case["feed_base64"]), f"{case['name']}: all are answered"
        if runs == ran(case) and not commits_first(case):
            same.append(case["name"])
    unfed = {case["name"] for case in CASES} - {case["name"] for case in cases}
    assert set(same) == {case["name"] for case in cases} - named("differs")
    assert unfed <= named("differs", "does not apply")
    assert re.search(rf"\| `transport\.json` \| {len(CASES)} \| {len(same)} \|", PAGE)
