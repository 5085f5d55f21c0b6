"""A sealed deployment of workers in C and in Python, and the Python library's own producer and consumer beside it."""

import pytest

from support.python_workers import FLAVOURS, PythonWorkers
from support.seal import KeyFile, unseal
from support.waiting import wait_until


@pytest.fixture
def keys(cell, tmp_path):
    keys = KeyFile(tmp_path / "keys")
    cell.further["KSER_SECRETBOX_KEY_FILE"] = str(keys.path)
    return keys


@pytest.fixture
def workers(cell, keys):
    """A worker in C and, in queues of their own, one of each flavour in Python."""
    cell.start()
    workers = PythonWorkers(cell)
    first = cell.submit_many([{"name": "jobs.Hello", "params": {"name": "first"}, "queue": flavour} for flavour in FLAVOURS])
    workers.want(1)
    assert cell.wait(first)["SUCCESS"] == len(FLAVOURS)
    return workers


def everywhere(ledger):
    """A task in C and one for each flavour."""
    return [ledger.note(), *({**ledger.note(), "queue": flavour} for flavour in FLAVOURS)]


def check_all_sealed(cell, keys):
    topics = [name for name in cell.kafka.admin().list_topics(timeout=10).topics if name.startswith(cell.prefix)]
    records = [record.value() for topic in topics for record in cell.kafka.read(topic)]
    assert records and all(unseal(keys.ever, record) for record in records)
    assert cell.database.query("select topic, reason from kser.dead_letters") == []


@pytest.mark.timeout(180)
def test_c_and_python_sealed(cell, keys, workers, ledger):
    def client(*arguments):
        return workers.run("python_client.py", *arguments, KSER_SECRETBOX_KEY=keys.keys[0], KSER_SECRETBOX_KEY_FILE="")
    for what in (("echo", '{"text": "C\u00e9dric"}'), ("jobs.Yahtzee", "{}", '{"kser": {"queue": "confluent"}}')):
        assert client("send", cell.topic("operations"), *what)["retcode"] == 0
    ended = "select count(*) from kser.operations where name in ('echo', 'jobs.Yahtzee') and status = 'SUCCESS'"
    wait_until(lambda: cell.database.value(ended) == 2, 30, "what the library's producer sent")
    # Its consumer opens what all of them sealed: the worker in C, and both in Python (which answered jobs.Hello before).
    replies = client("listen", cell.topic("results"), "16")
    assert [reply["stdout"] for reply in replies if reply["entrypoint"] == "echo"] == ["C\u00e9dric\n"]
    assert len([reply for reply in replies if reply["entrypoint"] == "__main__.DiceRoll"]) == 9
    assert {reply["retcode"] for reply in replies} == {0}

    programs = cell.processes.started
    old, ids = keys.keys[0], []
    for change in ([old, fresh := "A" * 42 + "8="], [fresh, old]):
        ids += cell.submit_many([{"name": "before", "tasks": everywhere(ledger)} for _ in range(15)])
        keys.change(change, programs)
    assert cell.wait(ids, 90)["SUCCESS"] == 30
    keys.change([fresh], programs)
    ids += cell.submit_many([{"name": "after", "tasks": everywhere(ledger)} for _ in range(10)])
    assert cell.wait(ids)["SUCCESS"] == 40
    cell.check_each_once(ids, 3)
    check_all_sealed(cell, keys)
