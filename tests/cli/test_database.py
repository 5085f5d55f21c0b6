"""kser db, and what every command says when the database is not as it should be."""

import json
from pathlib import Path

import pytest

from support.ageing import make_older

STATEMENTS = sorted((Path(__file__).resolve().parents[2] / "cli" / "statements").glob("*.sql"))
READING = (["ls"], ["worker", "ls"], ["show", "01890000-0000-7000-8000-000000000000"], ["wait", "01890000-0000-7000-8000-000000000000"],
           ["watch", "01890000-0000-7000-8000-000000000000"], ["submit", "--name", "echo"],
           ["cancel", "01890000-0000-7000-8000-000000000000"], ["explain", "01890000-0000-7000-8000-000000000000"], ["dead", "ls"], ["policy", "ls"], ["db", "doctor"], ["db", "purge", "--older-than", "1h"])


def test_migrate_creates_and_then_has_nothing_to_do(bare, empty_database):
    status = bare("--database", empty_database, "db", "status")
    assert status.returncode == 5 and "kser db migrate" in status.stdout
    first = bare("--database", empty_database, "db", "migrate")
    assert first.returncode == 0 and "brought up from 0" in first.stdout, first.stderr
    again = bare("--database", empty_database, "db", "migrate")
    assert again.returncode == 0 and "nothing to do" in again.stdout
    status = bare("--database", empty_database, "db", "status")
    assert status.returncode == 0 and "up to date" in status.stdout


def test_migrate_from_two_sides_at_once(processes, empty_database):
    both = [processes.start("kser", "--database", empty_database, "db", "migrate") for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    texts = "".join(process.text() for process in both)
    assert texts.count("brought up from 0") == 1 and texts.count("nothing to do") == 1


def test_status_as_json(kser):
    status = json.loads(kser("db", "status", "-o", "json").stdout)
    assert status["installed"] == status["wanted"] > 0 and status["functions_same"] is True and status["state"] == "up to date"


@pytest.mark.parametrize("command", READING, ids=lambda command: "-".join(command[:2]))
def test_without_the_schema_the_way_to_it_is_named(bare, empty_database, command):
    done = bare("--database", empty_database, *command)
    assert done.returncode == 5 and "kser db migrate" in done.stderr and done.stderr.count("\n") == 1


def test_a_newer_schema_is_refused(kser, database):
    database.query("update kser.meta set schema_version = schema_version + 1")
    for command in (["ls"], ["db", "migrate"]):
        done = kser(*command)
        assert done.returncode == 5 and "newer" in done.stderr
    status = kser("db", "status")
    assert status.returncode == 5 and "newer" in status.stdout


def test_other_functions_are_refused_and_replaced(kser, database):
    database.query("update kser.meta set functions_hash = 'another'")
    assert kser("ls").returncode == 5
    assert "functions replaced" in kser("db", "migrate").stdout
    assert kser("ls").returncode == 0


@pytest.mark.parametrize("command", [*READING, ["db", "status"], ["db", "migrate"]], ids=lambda command: "-".join(command[:2]))
def test_a_database_that_is_away_is_one_clear_line(bare, command):
    done = bare("--database", "postgresql://postgres@127.0.0.1:1/x", *command)
    assert done.returncode == 1 and "could not connect to the database" in done.stderr and done.stderr.count("\n") == 1
    assert "\\" not in done.stderr and "refused; Is the server running" in done.stderr, done.stderr


def test_a_database_that_does_not_exist(bare, postgres):
    done = bare("--database", postgres.url("nowhere"), "ls")
    assert done.returncode == 4 and '"nowhere" does not exist' in done.stderr


def test_who_may_only_submit_can_submit(bare, postgres, database):
    postgres.execute("create role submitter login in role kser_submit")
    try:
        as_submitter = str(database).replace("user=postgres", "user=submitter")
        done = bare("--database", as_submitter, "submit", "--name", "echo")
        assert done.returncode == 0, done.stderr
        assert bare("--database", as_submitter, "ls").returncode == 3
    finally:
        postgres.execute("drop role submitter")


def test_who_is_not_let_in(bare, postgres, database):
    stranger = str(database).replace("user=postgres", "user=nobody_at_all")
    done = bare("--database", stranger, "ls")
    assert done.returncode == 3 and "nobody_at_all" in done.stderr
    postgres.execute("create role powerless login")
    try:
        done = bare("--database", str(database).replace("user=postgres", "user=powerless"), "ls")
        assert done.returncode == 3 and "permission denied" in done.stderr
    finally:
        postgres.execute("drop role powerless")


def test_the_database_comes_from_option_environment_or_libpq(bare, database, postgres):
    assert bare("ls", environment={"KSER_DATABASE_URL": str(database)}).returncode == 0
    assert bare("ls", environment={"PGHOST": str(postgres.directory), "PGPORT": str(postgres.port), "PGUSER": "postgres", "PGDATABASE": database.name}).returncode == 0
    assert bare("ls", "--database", str(database), environment={"KSER_DATABASE_URL": "postgresql://127.0.0.1:1/x"}).returncode == 0


def test_the_url_may_stand_in_a_file(bare, database, tmp_path):
    secret = tmp_path / "url"
    secret.write_text(f"{database}\n")
    assert bare("ls", environment={"KSER_DATABASE_URL_FILE": str(secret)}).returncode == 0
    config = tmp_path / "kser.ini"
    config.write_text(f"[kser]\ndatabase = {database}\n[worker]\nslots = 3\n[kafka]\nclient.id = x\n")
    assert bare("ls", environment={"KSER_CONFIG": str(config)}).returncode == 0
    done = bare("ls", environment={"KSER_DATABASE_URL_FILE": "/nowhere/at/all"})
    assert done.returncode == 2 and "KSER_DATABASE_URL_FILE" in done.stderr


@pytest.mark.parametrize("path", STATEMENTS, ids=lambda path: path.name)
def test_each_statement_fits_the_schema(database, path):
    text = path.read_text()
    assert text.startswith("-- ")
    if path.name == "dev_database.sql":
        return
    database.query(f"prepare statement as {text}")


# --- Deleting what ended long ago


def old_operations(kser, database, *ages):
    """One operation of two tasks each that ended with SUCCESS so long ago."""
    for age in ages:
        id = kser.submit({"entrypoint": "a"}, {"entrypoint": "b"})
        for position in (0, 1):
            kser.step(id, position, "SUCCESS", 0)
        yield str(make_older(database.query, id, age))


def test_purge(kser, database):
    oldest, older, _ = old_operations(kser, database, "30 days", "3 hours", "1 hour")
    unfinished = make_older(database.query, kser.submit({"entrypoint": "a"}), "30 days")
    database.query("insert into kser.history (at, kind) values (now() - interval '1 week', 'drop')")
    assert kser("db", "purge", "--older-than", "2h", "--dry-run").stdout == "would delete 2 operations with 4 tasks\n"
    assert json.loads(kser("db", "purge", "--older-than", "1d", "--dry-run", "-o", "json").stdout) == {"dry_run": True, "operations": 1, "tasks": 2}
    assert database.value("select count(*) from kser.operations") == 4
    done = kser("db", "purge", "--older-than", "2h")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == "deleted 2 operations with 4 tasks\ndeleted 1 rows of history without an operation, 0 workers, 0 entrypoints\n"
    assert kser("show", oldest).returncode == 4 and kser("show", older).returncode == 4
    done = kser("db", "purge", "--older-than=2h", "-o", "json")
    assert done.returncode == 0 and json.loads(done.stdout) == {"dry_run": False, "operations": 0, "tasks": 0, "history": 0, "workers": 0, "entrypoints": 0}
    assert kser("db", "purge", "--older-than", "0s").stdout == "deleted 1 operations with 2 tasks\n"
    assert database.query("select id, (select count(*) from kser.tasks) from kser.operations") == [(unfinished, 1)]


def test_purge_goes_on_until_all_is_done(kser, database):
    """More than one look takes: 2,500 operations, and 1,500 rows of history."""
    database.query("select count(*) from kser.submit_many((select jsonb_agg(jsonb_build_object('name', 'x')) from generate_series(1, 2500)));"
                   "update kser.operations set status = 'FAILED', finished_at = now() - interval '2 h', id = (left(kser.first_id(now() - interval '3 h')::text, 13) || substr(id::text, 14))::uuid;"
                   "update kser.tasks k set status = 'FAILED', operation_id = (left(kser.first_id(now() - interval '3 h')::text, 13) || substr(operation_id::text, 14))::uuid;"
                   "insert into kser.history (at, kind) select now() - interval '2 h', 'drop' from generate_series(1, 1500)")
    assert kser("db", "purge", "--older-than", "1h", "--dry-run").stdout == "would delete 2500 operations with 2500 tasks\n"
    assert json.loads(kser("db", "purge", "--older-than", "1h", "-o", "jsonl").stdout) == {"dry_run": False, "operations": 2500, "tasks": 2500, "history": 1500, "workers": 0, "entrypoints": 0}
    assert [database.value(f"select count(*) from kser.{table}") for table in ("operations", "tasks", "history")] == [0, 0, 0]


@pytest.mark.parametrize("arguments, reason", [([], "expected --older-than"), (["--older-than", "30"], "not a duration"), (["--older-than", "11y"], "not a duration"),
                                               (["--older-than", "3651d"], "range"), (["--dry-run"], "--older-than"), (["--older-than", "1d", "all"], "argument")], ids=str)
def test_purge_refuses_wrong_usage(kser, database, arguments, reason):
    list(old_operations(kser, database, "20 years"))
    done = kser("db", "purge", *arguments)
    assert done.returncode == 2 and reason in done.stderr, done.stderr
    assert database.value("select count(*) from kser.operations") == 1
