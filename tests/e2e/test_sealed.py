"""A deployment whose messages are sealed: what is on its topics, what it refuses, and how it comes by its keys."""

import json
import signal
import uuid
from pathlib import Path

import pytest

from support.seal import KeyFile, new_key, seal, unseal
from support.waiting import wait_until


@pytest.fixture
def keys(cell, tmp_path):
    """The file of keys of all programs that the test starts."""
    keys = KeyFile(tmp_path / "keys")
    cell.further["KSER_SECRETBOX_KEY_FILE"] = str(keys.path)
    return keys


def message(**further):
    return {"uuid": str(uuid.uuid4()), "entrypoint": "echo", "params": {}, "result": None, "metadata": {}, **further}


def records(cell):
    """[(topic without its prefix, bytes)] of all that is on the cell's topics."""
    names = [name for name in cell.kafka.admin().list_topics(timeout=10).topics if name.startswith(cell.prefix)]
    return [(name.removeprefix(f"{cell.prefix}."), record.value()) for name in names for record in cell.kafka.read(name)]


def dead_letters(cell):
    """{(topic without its prefix, bytes): reason}"""
    rows = cell.database.query("select topic, bytes, reason from kser.dead_letters")
    return {(topic.removeprefix(f"{cell.prefix}."), bytes(kept)): reason for topic, kept, reason in rows}


def bears_hangup(pid):
    """Whether a process has blocked or caught SIGHUP."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return any(int(status[name], 16) & 1 << signal.SIGHUP - 1 for name in ("SigBlk", "SigCgt"))


def check_no_key_is_told(cell, keys):
    for process in cell.processes.started:
        assert not any(key[:12] in process.text() for key in keys.ever), process.name


# Operations by SQL and by topic, commands, plans, claims, heartbeats, a stop: nothing of it is plaintext on any topic.
@pytest.mark.timeout(120)
def test_everything_on_the_topics_is_sealed(cell, keys, kafka, ledger, tmp_path):
    commands = tmp_path / "commands.ini"
    commands.write_text("[entrypoint show.environment]\ncommand = env\n[entrypoint sleeper]\ncommand = sleep 600\n")
    cell.orchestrator()
    cell.wait_for_orchestrators(1)
    worker = cell.worker("--config", commands)
    # A hangup while it starts ends nothing and is not forgotten.
    wait_until(lambda: bears_hangup(worker.pid), 30, "the worker's first steps")
    worker.signal(signal.SIGHUP)
    cell.wait_for_workers(1)
    wait_until(lambda: keys.told(worker), 30, "the keys to be read again")
    ids = cell.submit_many([{"name": "plain", "tasks": [ledger.note()] * 3} for _ in range(30)])
    environment = cell.submit({"entrypoint": "show.environment"}, {"entrypoint": "echo", "params": {"word": "tomato"}})
    sleeper = cell.submit({"entrypoint": "sleeper"})
    kafka.produce(cell.topic("operations"), [seal(keys.keys[0], message(entrypoint="by.topic", metadata={"kser": {"tasks": [ledger.note()]}}))])
    assert cell.wait([*ids, environment])["SUCCESS"] == 31
    cell.check_each_once(ids, 3)
    by_topic = "select status::text from kser.operations where name = 'by.topic'"
    wait_until(lambda: cell.database.query(by_topic) == [("SUCCESS",)], 30, "the operation that came by topic")
    wait_until(lambda: cell.database.value("select count(*) from kser.claims where operation_id = %s", sleeper) == 1, 30, "a claim")
    cell.database.query("select kser.cancel(%s)", sleeper)
    assert cell.wait(sleeper)["FAILED"] == 1
    output = cell.database.value("select stdout from kser.tasks where operation_id = %s and position = 0", environment)
    assert "KSER_OPERATION=" in output and "SECRETBOX" not in output, "a command gets no key, nor is it told where one is"
    found = records(cell)
    assert {topic for topic, _ in found} >= {"tasks", "results", "operations", "control"}
    texts = [unseal(keys.keys, record) for _, record in found]
    assert None not in texts and any(b"tomato" in text for text in texts)
    assert not any(b"tomato" in record for _, record in found)
    assert dead_letters(cell) == {}
    check_no_key_is_told(cell, keys)


# What strangers write, plain or under another key, is kept and changes nothing; once the right key is there it can be sent again.
@pytest.mark.timeout(120)
def test_what_does_not_open(cell, keys, kafka, ledger, processes):
    cell.start()
    orchestrator, worker = processes.started
    other = new_key()
    held = cell.submit(ledger.hold(), ledger.note())
    wait_until(lambda: len(ledger.lines()) == 1, 30, "the task to be held")
    (task, generation, epoch), = cell.database.query("select t.uuid::text, m.generation, t.epoch from kser.tasks t, kser.meta m where t.operation_id = %s and t.position = 0", held)
    stamp = {"op": held, "pos": 0, "attempt": 1, "gen": generation, "epoch": epoch}
    forged = {
        "results": message(uuid=task, result={"uuid": task, "retcode": 0, "stdout": "counterfeit", "stderr": "", "retval": {}}, metadata={"kser": {**stamp, "kind": "result", "worker": "w"}}),
        "tasks": message(params={"word": "tomato"}),
        "operations": message(entrypoint="later", metadata={"kser": {"tasks": [ledger.note()]}}),
    }
    wanted = {}
    for topic, value in forged.items():
        plain, sealed = json.dumps(value).encode(), seal(other, value)
        kafka.produce(cell.topic(topic), [plain, sealed])
        wanted |= {(topic, plain): "is not sealed, and plaintext is refused", (topic, sealed): "cannot be opened: another key sealed it, or it was altered"}
    name = {**stamp, "uuid": task}
    stop = message(entrypoint="kser.control", params={"kind": "stop", "tasks": [name]}, metadata={"kser": {"kind": "control"}})
    kafka.produce(cell.topic("control"), [json.dumps(stop), seal(other, stop)])
    wait_until(lambda: len(dead_letters(cell)) >= len(wanted), 30, "dead letters")
    assert dead_letters(cell) == wanted
    wait_until(lambda: worker.text().count('message="a control record cannot be used"') == 2, 30, "the words on the topic of control to be refused")
    assert cell.tasks(held) == [(0, "RUNNING", 1, None), (1, "PENDING", 0, None)] and len(ledger.lines()) == 1
    # A file that cannot be used changes nothing.
    keys.path.write_text("no key\n")
    worst = 'message="cannot read the keys again, those before stay"'
    for process in (orchestrator, worker):
        process.signal(signal.SIGHUP)
        wait_until(lambda: worst in process.text(), 30, "the bad file to be refused")
    assert cell.wait(cell.submit(ledger.note()))["SUCCESS"] == 1
    # The key that was missing: what it sealed is good now; what was plaintext is, too, when an operator says so.
    keys.change([keys.keys[0], other], [orchestrator, worker])
    kept, = cell.database.query("select id from kser.dead_letters where topic = %s and position(%s::bytea in bytes) = 0", cell.topic("operations"), b"uuid")
    cell.database.query("select * from kser.redrive_dead(%s)", [kept[0]])
    wait_until(lambda: cell.database.query("select status::text from kser.operations where name = 'later'") == [("SUCCESS",)], 30, "the submission that was redriven")
    task, = cell.database.query("select id from kser.dead_letters where topic = %s and position(%s::bytea in bytes) > 0", cell.topic("tasks"), b"uuid")
    cell.database.query("select * from kser.redrive_dead(%s)", [task[0]])
    wanted = json.dumps(forged["tasks"]).encode()
    opened = lambda: [unseal(keys.keys, record.value()) for record in kafka.read(cell.topic("tasks")) if b"nonce" in record.value()]  # noqa: E731
    wait_until(lambda: wanted in opened(), 30, "the task that was redriven, sealed now")
    ledger.open()
    assert cell.wait(held)["SUCCESS"] == 1
    assert "counterfeit" not in str(cell.database.query("select * from kser.tasks"))
    check_no_key_is_told(cell, keys)


# A worker with a wrong key takes tasks that it cannot open: others run them.
@pytest.mark.timeout(120)
def test_a_worker_with_another_key(cell, keys, ledger, tmp_path):
    cell.start()
    stranger = KeyFile(tmp_path / "other")
    right, cell.further["KSER_SECRETBOX_KEY_FILE"] = cell.further["KSER_SECRETBOX_KEY_FILE"], str(stranger.path)
    wrong = cell.worker()
    wait_until(lambda: cell.kafka.members(f"{cell.prefix}.workers") == 2, 30, "a group of 2 workers")
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.note()]} for _ in range(40)])
    reasons = lambda: set(dead_letters(cell).values())  # noqa: E731
    wait_until(lambda: "cannot be opened: another key sealed it, or it was altered" in reasons(), 60, "the first that it reports")
    assert wrong.stop() == 0
    cell.further["KSER_SECRETBOX_KEY_FILE"] = right
    assert cell.wait(ids, 60)["SUCCESS"] == 40
    assert max(cell.ledger.executions().values()) == 1


# A message grows by a third when it is sealed: what then fits into no record is a failure that says so.
@pytest.mark.timeout(90)
def test_what_is_too_large_when_sealed(cell, keys, tmp_path):
    cell.start()
    fits, dispatch, result = (cell.submit({"entrypoint": "echo", "params": {"text": "x" * size}}) for size in (200000, 800000, 500000))
    assert cell.wait([fits, dispatch, result]) == {"SUCCESS": 1, "FAILED": 2}
    error = "select retval::text || coalesce(error, '') || coalesce(stderr, '') from kser.tasks where operation_id = %s"
    assert "cannot be sealed: sealed, 1048576 are the limit" in str(cell.database.query("select * from kser.tasks where operation_id = %s", dispatch)) \
        + str(cell.database.query("select * from kser.history where operation_id = %s", dispatch)), cell.database.query(error, dispatch)
    assert "bytes, at most " in str(cell.database.query("select * from kser.tasks where operation_id = %s", result))


# From plaintext to sealed while both run: each program passes by "send" and "accept", one after the other.
@pytest.mark.timeout(150)
def test_moving_a_running_fleet(cell, kafka, ledger, tmp_path):
    keys = KeyFile(tmp_path / "keys")
    programs, ids = cell.start(), []
    (orchestrator,), (worker,) = programs

    def some():
        ids.extend(cell.submit_many([{"name": "n", "tasks": [ledger.note()] * 2} for _ in range(10)]))
        assert cell.wait(ids)["SUCCESS"] == len(ids)

    def again(start, process):
        some()
        assert process.stop() == 0
        fresh = start()
        cell.wait_for_orchestrators(1)
        cell.wait_for_workers(1)
        some()
        return fresh

    cell.further["KSER_SECRETBOX_KEY_FILE"] = str(keys.path)
    for plaintext in ("send", "accept", "refuse"):
        cell.further["KSER_SECRETBOX_PLAINTEXT"] = plaintext
        if plaintext == "refuse":
            before = len(records(cell))
        worker = again(cell.worker, worker)
        orchestrator = again(cell.orchestrator, orchestrator)
    assert dead_letters(cell) == {}
    cell.check_each_once(ids, 2)
    found = [record for _, record in records(cell)]
    assert len(found) > before
    sealed = sum(record.startswith(b'{"data"') for record in found)
    assert 0 < sealed < len(found) and all(unseal(keys.keys, record) for record in found if record.startswith(b'{"data"'))


# Nothing is started half: the reason is told, and no part of the key.
def test_keys_that_are_none(cell, tmp_path):
    key, file = new_key(), tmp_path / "keys"
    file.write_text(f"{key}\n{key[:-2]}\n")
    bad = [({"KSER_SECRETBOX_KEY": key[:-4]}, "KSER_SECRETBOX_KEY: key 1 is not 32 bytes in base64"),
           ({"KSER_SECRETBOX_KEY_FILE": str(file)}, f"the keys' file {file}: key 2 is not 32 bytes in base64"),
           ({"KSER_SECRETBOX_KEY_FILE": "/nowhere"}, "cannot open the keys' file /nowhere"),
           ({"KSER_SECRETBOX_KEY": key, "KSER_SECRETBOX_KEY_FILE": str(file)}, "are both given"),
           ({"KSER_SECRETBOX_PLAINTEXT": "accept"}, "secretbox-plaintext: is for programs with a key, and none is given")]
    for program in ("kser-orchestrator", "kser-worker"):
        for environment, reason in bad:
            done = cell.processes.run(program, environment={**cell.environment, **environment})
            assert done.returncode == 2 and reason in done.stderr, done.stderr
            assert key[:8] not in done.stdout + done.stderr
        shown = cell.processes.run(program, "--print-config", environment={**cell.environment, "KSER_SECRETBOX_KEY": key})
        assert "secretbox_key = ********" in shown.stdout and key not in shown.stdout
