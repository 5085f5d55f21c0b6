"""kser submit."""

import json

import pytest

from support.waiting import wait_until


def stored(database):
    return database.query("select name, status::text, priority, queue, key, params from kser.operations order by id")


def test_an_object_gives_one_id(kser, database, tmp_path):
    path = tmp_path / "operation.json"
    path.write_text(json.dumps({"name": "backup", "tasks": [{"entrypoint": "a", "params": {"x": 1}}, {"entrypoint": "b"}], "params": {"p": "ä"},
                                "priority": 7, "queue": "slow", "key": "k1"}))
    done = kser("submit", path)
    assert done.returncode == 0 and done.stderr == ""
    id = done.stdout.strip()
    assert stored(database) == [("backup", "PENDING", 7, "slow", "k1", {"p": "ä"})]
    assert database.query("select position, entrypoint, params from kser.tasks where operation_id = %s order by 1", id) == [(0, "a", {"x": 1}), (1, "b", {})]
    assert kser("submit", path).stdout.strip() == id, "the same key and body are the same operation"


def test_an_array_gives_ids_in_its_order(kser, database):
    done = kser("submit", "-", input=json.dumps([{"name": f"n{i}"} for i in range(5)]))
    ids = done.stdout.split()
    assert [database.value("select name from kser.operations where id = %s", id) for id in ids] == [f"n{i}" for i in range(5)]
    none = kser("submit", "-", input="[]")
    assert (none.returncode, none.stdout, none.stderr) == (0, "", "kser: there was nothing to submit: the array is empty\n")


def test_all_of_an_array_or_none(kser, database):
    done = kser("submit", "-", input=json.dumps([{"name": "good"}, {"name": "bad", "frob": 1}]))
    assert done.returncode == 2 and "operations[1]" in done.stderr and "frob" in done.stderr
    assert stored(database) == []


def test_formats(kser):
    one, two = '{"name": "n"}', '[{"name": "n"}, {"name": "n"}]'
    assert list(json.loads(kser("submit", "-", "-o", "json", input=one).stdout)) == ["id"]
    assert [list(entry) for entry in json.loads(kser("submit", "-", "-o", "json", input=two).stdout)] == [["id"], ["id"]]
    assert [list(json.loads(line)) for line in kser("submit", "-", "-o", "jsonl", input=two).stdout.splitlines()] == [["id"], ["id"]]
    assert len(kser("submit", "-", "-o", "ids", input=two).stdout.split()) == 2


def test_an_operation_from_options(kser, database):
    done = kser("submit", "--name", "echo", "-p", "text=a=b\"ü", "--param", "n=1", "--priority", "-3", "--queue", "q", "--key", "k")
    assert done.returncode == 0, done.stderr
    assert stored(database) == [("echo", "PENDING", -3, "q", "k", {"text": "a=b\"ü", "n": "1"})]
    assert kser("submit", "--name", "echo", "--params", '{"n": 1}').returncode == 0
    assert stored(database)[1][5] == {"n": 1}


@pytest.mark.parametrize("text, reason", [
    ("", "byte 0"),
    ("{", "byte 1"),
    ('{"name": "a", "name": "b"}', "$.name: the key is there twice"),
    ('{"name": "a"} x', "byte 14"),
    ('{"name": "\\u0000"}', "byte 10"),
    ('{"name": "a", "params": ' + "[" * 70 + "]" * 70 + "}", "64"),
    ('{"name": "a", "params": {"n": 1e999}}', "byte 30"),
    ("7", "expected an object or an array"),
    ('"name"', "expected an object or an array"),
    ("{}", "name"),
    ('{"name": ""}', "name"),
    ('{"name": 7}', "name"),
    ('{"name": "a", "frob": 1}', "frob"),
    ('{"name": "a", "tasks": {}}', "tasks"),
    ('{"name": "a", "tasks": []}', "tasks"),
    ('{"name": "a", "tasks": [{"entrypoint": "b"}, {"entrypoint": 1}]}', "tasks[1]"),
    ('{"name": "a", "params": []}', "params"),
    ('{"name": "a", "priority": "high"}', "priority"),
    ('{"name": "a", "queue": "no spaces"}', "queue"),
    ('{"name": "a", "start_at": "tomorrow"}', "start_at"),
    ('{"name": "a", "deadline": "soon"}', "deadline"),
    ('[{"name": "a"}, 7]', "operations[1]"),
])
def test_bad_input_is_refused_with_its_place(kser, database, text, reason):
    done = kser("submit", "-", input=text)
    assert done.returncode == 2 and done.stdout == ""
    assert reason in done.stderr and done.stderr.count("\n") == 1
    assert stored(database) == []


def test_bytes_that_are_no_text_are_refused(kser, tmp_path):
    path = tmp_path / "bytes"
    path.write_bytes(b'{"name": "\xff\xfe\x1b[31m"}')
    done = kser("submit", path)
    assert done.returncode == 2 and "\x1b" not in done.stderr


@pytest.mark.parametrize("arguments, reason", [
    (["--params", "[1"], "--params"),
    (["--params", "[]"], "params"),
    (["--params", "{}", "-p", "a=b"], "exclude each other"),
    (["-p", "nothing"], "NAME=TEXT"),
    (["-p", "a=1", "-p", "a=2"], "$.params.a: the key is there twice"),
    (["--priority", "1,\"key\":\"x\""], "--priority"),
    (["--priority", "high"], "--priority"),
    (["--timeout", "3s"], "--timeout: needs --wait"),
])
def test_bad_options_are_refused(kser, database, arguments, reason):
    done = kser("submit", "--name", "echo", *arguments)
    assert done.returncode == 2 and reason in done.stderr, done.stderr
    assert stored(database) == []


def test_a_key_with_another_body_is_refused_by_the_state(kser):
    assert kser("submit", "--name", "echo", "--key", "k").returncode == 0
    done = kser("submit", "--name", "sleep", "--key", "k")
    assert done.returncode == 5 and "k" in done.stderr


def test_waiting_for_the_end(kser, database, processes):
    waiting = processes.start("kser", "--database", database, "submit", "--name", "echo", "--wait", name="waiting")
    id = wait_until(lambda: waiting.text().strip(), 30, "the id")
    kser.step(id, 0, "SUCCESS", 0)
    assert waiting.wait() == 0 and waiting.text().strip() == id


def test_waiting_for_a_failure(kser, database, processes):
    waiting = processes.start("kser", "--database", database, "submit", "--name", "echo", "--wait", name="waiting")
    id = wait_until(lambda: waiting.text().strip(), 30, "the id")
    kser.step(id, 0, "FAILED", 504, error="Timeout", retval={"error": {"message": "took\x1b[2Jlonger"}})
    assert waiting.wait() == 6
    assert f"operation {id} is FAILED: Timeout: took\\x1b[2Jlonger\n" in waiting.text()


# What the engine refuses or ends has its reason in stderr: there is no retval of it. The one of the operation is the worker's.
def test_the_reason_of_a_refused_plan(kser, database, processes):
    waiting = processes.start("kser", "--database", database, "submit", "--name", "echo", "--wait", name="waiting")
    id = wait_until(lambda: waiting.text().strip(), 30, "the id")
    kser.step(id, 0, "FAILED", 400, error="ValidationError", stderr="the plan is refused: tasks[0].entrypoint: must have 1 to 255 bytes, has 0\n", retval={"n": 1})
    assert waiting.wait() == 6
    reason = "the plan is refused: tasks[0].entrypoint: must have 1 to 255 bytes, has 0"
    assert f"operation {id} is FAILED: ValidationError: {reason}" in waiting.text()
    shown = json.loads(kser("show", id, "-o", "json").stdout)
    assert shown["message"].strip() == shown["tasks"][0]["message"].strip() == reason
    assert all(reason in kser(*command).stdout for command in (["ls"], ["show", id], ["watch", id]))


def test_waiting_has_an_end(kser):
    done = kser("submit", "--name", "echo", "--wait", "--timeout", "200ms")
    assert done.returncode == 7 and "is PENDING" in done.stderr and len(done.stdout.split()) == 1


# The server goes away while somebody waits and stays away: the time is over all the same, and the operation may still run.
def test_the_time_is_over_while_the_database_is_away(kser, database, postgres, processes):
    waiting = processes.start("kser", "--database", database, "submit", "--name", "echo", "--wait", "--timeout", "3s", name="waiting")
    wait_until(lambda: waiting.text().strip(), 30, "the id")
    postgres.stop()
    assert waiting.wait(30) == 7
    assert "trying again" in waiting.text()
