"""What an operation does from its submit to its end."""

import json
import subprocess
import uuid

import pytest

from support.processes import clean_environment
from support.waiting import wait_until


@pytest.mark.parametrize("length", [1, 3, 100])
def test_runs_all_its_tasks_in_order(running_cell, ledger, length):
    id = running_cell.submit(*[ledger.note() for _ in range(length)])
    assert running_cell.wait(id)["SUCCESS"] == 1
    assert running_cell.tasks(id) == [(position, "SUCCESS", 1, 0) for position in range(length)]
    assert [(operation, position) for operation, position, _, _ in ledger.lines()] == [(id, position) for position in range(length)]


def test_failure_in_the_middle_ends_it(running_cell, ledger):
    id = running_cell.submit(ledger.note(), ledger.note(), ledger.note(code=418), ledger.note(), ledger.note())
    assert running_cell.wait(id)["FAILED"] == 1
    assert [task[1] for task in running_cell.tasks(id)] == ["SUCCESS", "SUCCESS", "FAILED", "PENDING", "PENDING"]
    assert [position for _, position, _, _ in ledger.lines()] == [0, 1, 2]
    assert running_cell.database.query("select retcode, error from kser.operations where id = %s", id) == [(418, "Wanted")]


def test_a_result_is_carried_on(running_cell):
    id = running_cell.submit({"entrypoint": "echo", "params": {"text": "first", "a": 1}}, {"entrypoint": "echo", "params": {"text": "second", "b": 2}})
    assert running_cell.wait(id)["SUCCESS"] == 1
    (stdout, retval), = running_cell.database.query("select stdout, retval from kser.operations where id = %s", id)
    assert stdout.strip() == "second" and retval["a"] == 1 and retval["b"] == 2
    rows = running_cell.database.query("select stdout, retval from kser.tasks where operation_id = %s order by position", id)
    assert rows[0][0].strip() == "first" and "b" not in rows[0][1] and "a" not in rows[1][1], "a task's row shows its own part only"


def test_unknown_entrypoint_fails_and_is_named(running_cell):
    id = running_cell.submit({"entrypoint": "no.such.thing"})
    assert running_cell.wait(id)["FAILED"] == 1
    (error, stderr), = running_cell.database.query("select error, stderr || retval::text from kser.operations where id = %s", id)
    assert error == "ValidationError" and "no.such.thing" in stderr


def test_a_second_prefix_of_topics_is_refused(running_cell):
    """Else each would take the other's tasks, and nobody could prove what was lost."""
    process = running_cell.orchestrator("--topic-prefix", "other")
    assert process.wait(30) == 2 and f"the tasks of this database go to the topics of '{running_cell.prefix}'" in process.text()


def test_missing_parameter_is_named(running_cell, ledger):
    id = running_cell.submit({"entrypoint": "ledger.note"})
    assert running_cell.wait(id)["FAILED"] == 1
    (retcode, said), = running_cell.database.query("select retcode, stderr || retval::text from kser.operations where id = %s", id)
    assert retcode == 400 and "Missing parameter: ledger" in said
    assert not ledger.lines()


def test_psql_alone_submits_and_sees_the_end(running_cell):
    script = """
        begin;
        select kser.submit('by-hand', tasks => '[{"entrypoint": "echo"}, {"entrypoint": "dice"}, {"entrypoint": "echo"}]');
        commit;
    """
    done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", str(running_cell.database)], input=script,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment())
    assert done.returncode == 0, done.stderr
    id = done.stdout.strip()
    wait_until(lambda: [task[1] for task in running_cell.tasks(id)] == ["SUCCESS"] * 3, 30, "three SUCCESS in kser.tasks")


# A submit belongs to its caller's transaction: nobody sees or runs it before the commit, and nothing is left of a rollback.
def test_a_submit_waits_for_its_commit_and_goes_with_a_rollback(running_cell, connect, ledger):
    session = connect(autocommit=False)
    cursor = session.cursor()
    statement = "select kser.submit('mine', tasks => %s)"
    cursor.execute(statement, [json.dumps([ledger.note()])])
    session.rollback()
    cursor.execute(statement, [json.dumps([ledger.note()])])
    id = str(cursor.fetchone()[0])
    other = running_cell.submit(ledger.note())
    running_cell.wait(other)
    assert {operation for operation, _, _, _ in ledger.lines()} == {other}
    session.commit()
    assert running_cell.wait(id)["SUCCESS"] == 1
    for table in ("operations", "tasks"):
        assert running_cell.database.value(f"select count(*) from kser.{table}") == 2, table
    assert running_cell.database.value("select count(*) from kser.ready") == 0


def submission(entrypoint, params=None, **kser):
    return json.dumps({"uuid": str(uuid.uuid4()), "entrypoint": entrypoint, "params": params or {}, "result": None, "metadata": {"kser": kser} if kser else {}})


def test_submissions_by_kafka(running_cell, kafka, ledger):
    with_tasks = submission("by-topic", tasks=[ledger.note(), ledger.note()], priority=5)
    alone = submission("ledger.note", ledger.note()["params"])
    # The same record again is the same operation.
    kafka.produce(running_cell.topic("operations"), [with_tasks, alone, with_tasks])
    count = "select count(*) from kser.operations where status = 'SUCCESS'"
    wait_until(lambda: running_cell.database.value(count) == 2, 30, "the end of both operations")
    assert running_cell.database.query("select name, priority from kser.operations order by name") == [("by-topic", 5), ("ledger.note", 0)]
    assert sorted(ledger.executions().values()) == [1, 1, 1]
    # A later one proves that the copy has been read by now.
    kafka.produce(running_cell.topic("operations"), [submission("echo")])
    wait_until(lambda: running_cell.database.value(count) == 3, 30, "the end of the last operation")
    assert running_cell.database.value("select count(*) from kser.operations") == 3


# A plan that a task returns runs right after it, before what was planned already.
def test_a_task_returns_a_plan(cell, ledger, tmp_path):
    plan = json.dumps({"tasks": [ledger.note(), ledger.note()], "retval": {"planned": 2}})
    script = tmp_path / "plan.sh"
    script.write_text(f"cat >\"$KSER_RESULT_FILE\" <<'END'\n{plan}\nEND\n")
    ini = tmp_path / "worker.ini"
    ini.write_text(f"[entrypoint plan]\ncommand = sh {script}\nonsuccess = echo planned\n")
    cell.orchestrator()
    cell.worker("--config", ini)
    id = cell.submit({"entrypoint": "plan"}, {"entrypoint": "echo", "params": {"text": "last"}})
    assert cell.wait(id)["SUCCESS"] == 1
    entrypoints = cell.database.query("select entrypoint, status::text from kser.tasks where operation_id = %s order by position", id)
    assert entrypoints == [(name, "SUCCESS") for name in ("plan", "ledger.note", "ledger.note", "echo")]
    assert [position for _, position, _, _ in ledger.lines()] == [1, 2]
    # What the command around it says is the task's word.
    assert cell.database.value("select stdout from kser.tasks where operation_id = %s and position = 0", id) == "planned\n"
