"""kser cancel, pause, resume, retry, explain."""

import json
import threading

import pytest

from cli.program import MISSING
from support.waiting import wait_until


def answers(done):
    return {row["id"]: row["answer"] for row in json.loads(done.stdout)}


def states(database):
    return {str(id): (status, held) for id, status, held in database.query("select id, status::text, held from kser.operations")}


def test_each_verb_by_id_with_a_reason(kser, database):
    id = kser.submit({"entrypoint": "a"})
    for verb, answer, state in (("pause", "paused", ("PENDING", True)), ("resume", "resumed", ("PENDING", False)), ("cancel", "withdrawn", ("FAILED", False)),
                                ("retry", "retried", ("PENDING", False))):
        done = kser(verb, id, "--reason", f"because of {verb}", "-o", "json")
        assert (done.returncode, done.stderr) == (0, "") and answers(done) == {id: answer}
        assert states(database) == {id: state}
    assert database.query("select kind, reason, actor from kser.history order by id") == [(verb, f"because of {verb}", "postgres") for verb in ("pause", "resume", "cancel", "retry")]


def test_a_running_task_is_asked_to_stop(kser, database):
    id = kser.submit({"entrypoint": "a"})
    kser.step(id, 0, "RUNNING")
    done = kser("cancel", id)
    assert done.returncode == 0 and "asked" in done.stdout and "task 0 (a) is told to stop" in done.stdout
    assert database.value("select count(*) from kser.stops") == 1


def test_the_worst_of_several_decides(kser):
    fine, failed = kser.submit({"entrypoint": "a"}), kser.submit({"entrypoint": "a"})
    kser.step(failed, 0, "FAILED", 1)
    done = kser("cancel", "-", "-o", "json", input=f"{fine}\n{failed}\n{MISSING}\n")
    assert done.returncode == 5 and answers(done) == {fine: "withdrawn", failed: "refused", MISSING: "missing"}
    assert kser("cancel", fine, MISSING).returncode == 4
    done = kser("cancel", failed)
    assert done.returncode == 5 and "is FAILED: only one that has not ended" in done.stdout
    assert [json.loads(line)["id"] for line in kser("cancel", fine, "-o", "jsonl").stdout.splitlines()] == [fine]
    assert kser("cancel", fine, "-o", "ids").stdout.split() == [fine]


def test_a_filter_shows_first_and_does_it_with_yes(kser, database):
    mine = [kser.submit({"entrypoint": "a"}, name="mine") for _ in range(3)]
    other = kser.submit({"entrypoint": "a"}, name="other", queue="gpu")
    kser.step(mine[0], 0, "SUCCESS", 0)
    done = kser("cancel", "--name", "mine", "-o", "ids")
    assert done.returncode == 0 and set(done.stdout.split()) == set(mine[1:])
    assert "would be asked of 2 operations" in done.stderr and "--yes" in done.stderr
    assert all(status != "FAILED" for status, _ in states(database).values())
    done = kser("cancel", "--name", "mine", "--yes", "-o", "json")
    assert done.returncode == 0 and answers(done) == {id: "withdrawn" for id in mine[1:]}
    assert {id for id, (status, _) in states(database).items() if status == "FAILED"} == set(mine[1:])
    assert answers(kser("pause", "--queue", "gpu", "--yes", "-o", "json")) == {other: "paused"}
    assert kser("pause", "--queue", "gpu", "--yes", "-o", "json").stdout == "[]\n", "those that are paused are not found again"
    done = kser("pause", "--name", "oth??*", "--yes")
    assert done.returncode == 4 and done.stderr == "kser: no operation matches that pause can be done to\n"
    assert kser("retry", "--name", "nobody").returncode == 4
    assert answers(kser("resume", "--name", "oth*", "--yes", "-o", "json")) == {other: "resumed"}
    assert answers(kser("pause", "--name", "othe?", "--yes", "-o", "json")) == {other: "paused"}
    assert answers(kser("resume", "--status", "PENDING", "--yes", "-o", "json")) == {other: "resumed"}
    assert answers(kser("retry", "--name", "mine", "--yes", "-o", "json")) == {id: "retried" for id in mine[1:]}


def test_more_than_one_transaction_takes(kser, database):
    database.query("select kser.submit_many(jsonb_agg('{\"name\": \"many\"}'::jsonb)) from generate_series(1, 250)")
    done = kser("pause", "--name", "many", "--yes", "-o", "ids")
    assert len(set(done.stdout.split())) == 250 and database.value("select count(*) from kser.operations where held") == 250
    done = kser("resume", "-", "-o", "json", input=kser("ls", "--all", "-o", "ids").stdout)
    assert done.returncode == 0 and set(answers(done).values()) == {"resumed"} and len(answers(done)) == 250


# Somebody holds the operation in an open transaction for a moment: the program tries again until it has it.
def test_what_somebody_holds_is_tried_again(kser, database, connect):
    id = kser.submit({"entrypoint": "a"})
    holder = connect(autocommit=False)
    holder.cursor().execute("select from kser.tasks where operation_id = %s for update", (id,))
    done = []
    thread = threading.Thread(target=lambda: done.append(kser("pause", id, "-o", "json")))
    thread.start()
    wait_until(lambda: database.value("select count(*) from pg_stat_activity where application_name = 'kser' and query like '%%pause_many%%'"), 30, "the program to ask")
    assert thread.is_alive()
    holder.rollback()
    thread.join()
    assert done[0].returncode == 0 and answers(done[0]) == {id: "paused"}


@pytest.mark.parametrize("arguments, reason", [([], "which operations?"), (["--reason", "x"], "which operations?"), (["x", "--name", "n"], "which operations?"), (["x"], "is not the id"),
                                               (["--status", "LOST"], "LOST: must be PENDING, RUNNING"), ([MISSING, "--force"], "unknown option --force")])
def test_wrong_usage(kser, arguments, reason):
    done = kser("cancel", *arguments)
    assert done.returncode == 2 and reason in done.stderr and done.stdout == "", done.stderr


def test_retry_with_force_and_deadline(kser, database):
    id = kser.submit({"entrypoint": "a"}, deadline="1h")
    kser.step(id, 0, "FAILED", 500, error="Lost")
    database.query("update kser.operations set deadline_at = now() - interval '1 s'")
    done = kser("retry", id)
    assert done.returncode == 5 and "deadline passed" in done.stdout
    done = kser("retry", id, "--deadline", "2h")
    assert done.returncode == 5 and "may still run" in done.stdout
    assert kser("retry", id, "--deadline", "2h", "--force").returncode == 0
    assert states(database) == {id: ("RUNNING", False)}
    assert database.value("select deadline_at > now() + interval '119 min' from kser.operations")


def test_what_a_terminal_must_not_get(kser, database):
    id = kser.submit({"entrypoint": "a\u202e"})
    kser.step(id, 0, "RUNNING")
    done = kser("cancel", id, "--reason", "x\x1b[2J")
    assert done.returncode == 0 and "\u202e" not in done.stdout and "\\x" in done.stdout
    assert "\x1b" not in kser("show", id).stdout


def test_who_may_not(bare, kser, postgres, database):
    id = kser.submit({"entrypoint": "a"})
    postgres.execute("create role looker login in role kser_read")
    try:
        done = bare("--database", str(database).replace("user=postgres", "user=looker"), "cancel", id)
        assert done.returncode == 3 and "permission denied" in done.stderr
    finally:
        postgres.execute("drop role looker")


def test_explain(kser):
    id = kser.submit({"entrypoint": "a"}, start_at="2999-01-01")
    assert "not_due" in kser("explain", id).stdout
    kser("pause", id, "--reason", "lunch")
    assert json.loads(kser("explain", id, "-o", "json").stdout)[0]["code"] == "held"
    done = kser("explain", MISSING)
    assert done.returncode == 4 and MISSING in done.stderr
