"""kser dead, policy, db doctor, db new-generation; crash points of the program."""

import base64
import json
import signal

import pytest

from support.waiting import wait_until


def letters(database, *bodies, topic="t.results"):
    for offset, body in enumerate(bodies):
        database.query("select kser.bury(%s, 0, %s, %s, %s, null)", topic, offset, f"no good {offset}\x1b[2J", body)
    return [str(id) for id, in database.query("select id from kser.dead_letters where topic = %s order by id", topic)]


def test_dead_letters_are_listed_and_shown(kser, database):
    one, two = letters(database, b'{"a": \x00\xff\x1b[2J', b"x" * 100)
    other, = letters(database, b"y", topic="other")
    assert kser("dead", "ls", "-o", "ids").stdout.split() == [other, two, one]
    assert kser("dead", "ls", "--topic", "t.results", "-n", "1", "-o", "ids").stdout.split() == [two]
    row = json.loads(kser("dead", "ls", "-o", "jsonl").stdout.splitlines()[-1])
    assert (row["id"], row["topic"], row["offset"], row["size"], row["redrive_at"]) == (int(one), "t.results", 0, 12, None) and "bytes" not in row
    shown = json.loads(kser("dead", "show", one, "-o", "json").stdout)
    assert base64.b64decode(shown["base64"]) == b'{"a": \x00\xff\x1b[2J' and shown["reason"] == "no good 0\x1b[2J"
    for command in (["dead", "show", one], ["dead", "ls"]):
        assert "\x1b" not in kser(*command).stdout and "no good 0" in kser(*command).stdout
    assert kser("dead", "show", "999").returncode == 4
    assert kser("dead", "show", "x").returncode == 2 and kser("dead", "show", "9" * 30).returncode == 2


def test_dead_letters_are_redriven_and_dropped(kser, database):
    whole, cut = letters(database, b"x", b"x" * 100000)
    done = kser("dead", "redrive", "-", "--reason", "mended", "-o", "json", input=kser("dead", "ls", "-o", "ids").stdout)
    assert done.returncode == 5 and {str(r["id"]): r["answer"] for r in json.loads(done.stdout)} == {whole: "asked", cut: "refused"}
    assert kser("dead", "ls", "-o", "ids").stdout.split() == [cut]
    assert kser("dead", "ls", "--all", "-o", "ids").stdout.split() == [cut, whole]
    assert kser("dead", "redrive", "999").returncode == 4
    assert kser("dead", "drop", cut, "--reason", "noise").returncode == 0
    assert kser("dead", "drop", cut).returncode == 4
    assert kser("dead", "drop", "-", input="").stdout.count("\n") <= 1
    assert database.query("select kind, reason from kser.history order by id") == [("redrive", "mended"), ("drop", "noise")]


def test_policies(kser, database):
    assert kser("policy", "ls", "-o", "json").stdout == "[]\n"
    assert kser("policy", "set", "backup.dump", '{"max_attempts": 3}', "--reason", "flaky").returncode == 0
    listed, = json.loads(kser("policy", "ls", "-o", "json").stdout)
    assert (listed["entrypoint"], listed["policy"], listed["actor"]) == ("backup.dump", {"max_attempts": 3}, "postgres")
    id = kser.submit({"entrypoint": "backup.dump"})
    assert database.value("select policy from kser.tasks where operation_id = %s", id) == {"max_attempts": 3}
    for policy, reason in (('{"tries": 3}', "tries"), ("{", "byte 1"), ('{"delay": 1, "delay": 2}', "twice"), ("[]", "object")):
        done = kser("policy", "set", "backup.dump", policy)
        assert done.returncode == 2 and reason in done.stderr, done.stderr
    assert kser("policy", "drop", "backup.dump").returncode == 0
    done = kser("policy", "drop", "backup.dump")
    assert done.returncode == 4 and "backup.dump" in done.stderr


def test_doctor(kser, database):
    database.query("select kser.beat(gen_random_uuid(), 'host:1', '0', 1, false, true, '1 h', '8 s'); update kser.instances set beat_at = now() + interval '1 h'")
    done = kser("db", "doctor", "-o", "json")
    assert done.returncode == 0 and {row["severity"] for row in json.loads(done.stdout)} <= {"info"}, done.stdout
    kser.submit({"entrypoint": "a"})
    done = kser("db", "doctor")
    assert done.returncode == 5 and "no_worker" in done.stdout and "start kser-worker" in done.stdout
    assert "no_worker" in kser("db", "doctor", "-o", "ids").stdout.split()
    database.query("update kser.meta set schema_version = schema_version + 1")
    done = kser("db", "doctor")
    assert done.returncode == 5 and "newer" in done.stderr


def test_new_generation_needs_a_reason(kser, database):
    before = database.value("select generation from kser.meta")
    id = kser.submit({"entrypoint": "a"})
    kser.step(id, 0, "RUNNING")
    done = kser("db", "new-generation")
    assert done.returncode == 2 and "--reason" in done.stderr and database.value("select generation from kser.meta") == before
    done = kser("db", "new-generation", "--reason", "restored")
    after = database.value("select generation from kser.meta")
    assert done.returncode == 0 and done.stdout == f"generation {after}\n" and after != before
    assert database.value("select status::text from kser.tasks") == "PENDING" and database.value("select count(*) from kser.ready") >= 1
    assert database.query("select kind, reason from kser.history order by id desc limit 1") == [("generation", "restored")]


# --- Crash points, which only test builds have


@pytest.fixture
def faults(binaries):
    if b"KSER_FAULT" not in (binaries / "kser").read_bytes():
        pytest.skip("built without crash points")


# The program dies between the tables and the functions: nothing of the migration is there, and the next one makes all of it.
@pytest.mark.parametrize("action", ["kill", "error"])
def test_a_migration_that_dies_midway_leaves_nothing(faults, bare, empty_database, action):
    done = bare("--database", empty_database, "db", "migrate", environment={"KSER_FAULT": f"migrate.midway={action}"})
    assert done.returncode == (-signal.SIGKILL if action == "kill" else 1)
    wait_until(lambda: empty_database.value("select to_regclass('kser.meta') is null and count(*) = 1 from pg_stat_activity where datname = current_database()"), 30, "its session to end")
    assert bare("--database", empty_database, "db", "status").returncode == 5
    assert "brought up from 0" in bare("--database", empty_database, "db", "migrate").stdout
    assert bare("--database", empty_database, "db", "status").returncode == 0


def test_a_submit_that_dies_before_its_commit_leaves_nothing(faults, kser, database):
    done = kser("submit", "--name", "echo", "--key", "k", environment={"KSER_FAULT": "submit.before_commit=kill"})
    assert done.returncode == -signal.SIGKILL and done.stdout == ""
    again = kser("submit", "--name", "echo", "--key", "k")
    assert again.returncode == 0
    assert [str(id) for id, in database.query("select id from kser.operations")] == again.stdout.split()
