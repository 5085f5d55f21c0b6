"""kser wait and watch."""

import json

from cli.program import MISSING

from support.waiting import wait_until


def test_wait_tells_by_its_exit_status_how_it_ended(kser):
    good, bad, waiting = kser.submit(name="good"), kser.submit(name="bad"), kser.submit(name="waiting")
    kser.step(good, 0, "SUCCESS", 0)
    kser.step(bad, 0, "FAILED", 1, error="Error")
    assert kser("wait", good).returncode == 0
    assert kser("wait", bad).returncode == 6
    assert kser("wait", good, bad).returncode == 6
    assert kser("wait", waiting, "--timeout", "150ms").returncode == 7
    assert kser("wait", good, MISSING).returncode == 4
    assert kser("wait", MISSING, "--timeout", "10s").returncode == 4


def test_wait_prints_the_operations(kser):
    good, bad = kser.submit(name="good"), kser.submit(name="bad")
    kser.step(good, 0, "SUCCESS", 0)
    kser.step(bad, 0, "FAILED", 1, error="Error")
    done = kser("wait", "-", "-o", "jsonl", input=f"{good}\n{bad}\n")
    assert done.returncode == 6
    assert {row["id"]: row["status"] for row in map(json.loads, done.stdout.splitlines())} == {good: "SUCCESS", bad: "FAILED"}
    assert kser("wait", good).stdout.splitlines()[1].split()[2] == "SUCCESS"


def test_wait_waits(kser, database, processes):
    id = kser.submit({"entrypoint": "a"}, {"entrypoint": "b"})
    waiting = processes.start("kser", "--database", database, "wait", id)
    kser.step(id, 0, "SUCCESS", 0)
    wait_until(lambda: database.value("select count(*) from pg_stat_activity where application_name = 'kser' and datname = current_database()"), 30, "kser to look")
    assert waiting.running
    kser.step(id, 1, "SUCCESS", 0)
    assert waiting.wait() == 0


# The server goes away and comes back while somebody waits: the wait goes on.
def test_no_time_at_all_is_refused(kser):
    for command in (["wait", "--timeout", "0s", "01a20aa5-8243-7000-8000-000000000000"], ["submit", "--name", "echo", "--wait", "--timeout", "0s"]):
        done = kser(*command)
        assert done.returncode == 2 and "not in the range 1ms to" in done.stderr


def test_wait_outlives_a_restart_of_the_database(kser, database, postgres, processes):
    id = kser.submit(name="long")
    waiting = processes.start("kser", "--database", database, "wait", id)
    # Not only connected: what fails before the first look ends the command.
    looking = "select count(*) from pg_stat_activity where application_name = 'kser' and datname = current_database() and query like '%kser.operations%'"
    wait_until(lambda: database.value(looking), 30, "kser to look")
    postgres.stop()
    wait_until(lambda: "trying again" in waiting.text(), 30, "word that the database is away")
    postgres.start()
    wait_until(lambda: database.value(looking), 30, "kser to look again")
    kser.step(id, 0, "SUCCESS", 0)
    assert waiting.wait() == 0
    assert waiting.text().count("trying again") == 1


def test_wait_without_ids(kser):
    assert kser("wait", "-", input="\n").returncode == 2
    assert kser("wait", "-", input="not-an-id\n").returncode == 2
    done = kser("wait", "-", input=f"{MISSING}\n" * 10001)
    assert done.returncode == 2 and "more than 10000" in done.stderr


def test_watch_tells_each_change_once(kser, database, processes):
    id = kser.submit({"entrypoint": "a"}, {"entrypoint": "b"})
    watching = processes.start("kser", "--database", database, "watch", id, "-o", "jsonl")
    told = []

    def expect(position, status, attempt=1):
        told.append((position, status, attempt))
        wait_until(lambda: [(row["position"], row["status"], row["attempt"]) for row in map(json.loads, watching.text().splitlines())] == told, 30, f"{told}")

    kser.step(id, 0, "RUNNING")
    expect(0, "RUNNING")
    kser.step(id, 0, "SUCCESS", 0)
    expect(0, "SUCCESS")
    kser.step(id, 1, "RUNNING")
    expect(1, "RUNNING")
    kser.step(id, 1, "RUNNING", attempt=2)
    expect(1, "RUNNING", 2)
    kser.step(id, 1, "FAILED", 3, error="Error")
    expect(1, "FAILED", 2)
    assert watching.wait() == 6


def test_watch_of_what_is_over_tells_it_all(kser):
    id = kser.submit(*({"entrypoint": f"e{i}"} for i in range(450)))
    for statement in ("update kser.tasks set status = 'SUCCESS', attempt = 1, finished_at = now()", "update kser.operations set status = 'SUCCESS'"):
        kser.database.query(statement)
    done = kser("watch", id)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 452 and lines[-1] == "operation SUCCESS"
    assert json.loads(kser("watch", id, "-o", "json").stdout)[449]["entrypoint"] == "e449"


def test_watch_tells_what_became_of_attempts(kser, database, processes):
    id = kser.submit({"entrypoint": "a"}, {"entrypoint": "b"})
    watching = processes.start("kser", "--database", database, "watch", id, "-o", "jsonl")
    told = []

    def ended(kind, attempt, **columns):
        database.query("update kser.tasks set status = 'PENDING', attempt = %s where operation_id = %s and position = 0", attempt, id)
        columns = {"operation_id": id, "position": 0, "attempt": attempt, "kind": kind, **columns}
        database.query(f"insert into kser.history ({', '.join(columns)}) values ({', '.join(['%s'] * len(columns))})", *columns.values())

    def expect(*rows):
        told.extend(rows)
        wait_until(lambda: [(row["status"], row["attempt"], row["message"]) for row in map(json.loads, watching.text().splitlines())] == told, 30, f"{told}")

    ended("failed", 1, retcode=3, reason="tried again in 10 ms", detail='{"retval": {"error": {"message": "no"}}}')
    expect(("failed", 1, "no"))
    kser.step(id, 0, "RUNNING", attempt=2)
    expect(("RUNNING", 2, None))
    ended("lost", 2, reason="gone")
    expect(("lost", 2, "gone"))
    kser.step(id, 0, "SUCCESS", 0, attempt=3)
    expect(("SUCCESS", 3, None))
    kser.step(id, 1, "FAILED", 1, attempt=1, error="Error")
    database.query("insert into kser.history (operation_id, position, attempt, kind) values (%s, 1, 1, 'failed')", id)
    expect(("FAILED", 1, None))
    assert watching.wait() == 6
    lines = kser("watch", id).stdout.splitlines()
    assert len(lines) == 6 and "failed" in lines[1] and "lost" in lines[2], "the whole story at once"


def test_watch_of_nothing(kser):
    assert kser("watch", MISSING).returncode == 4
