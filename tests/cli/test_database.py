"""kser db, and what every command says when the database is not as it should be."""

import json
from pathlib import Path

import pytest

STATEMENTS = sorted((Path(__file__).resolve().parents[2] / "cli" / "statements").glob("*.sql"))
READING = (["ls"], ["worker", "ls"], ["show", "01890000-0000-7000-8000-000000000000"], ["wait", "01890000-0000-7000-8000-000000000000"],
           ["watch", "01890000-0000-7000-8000-000000000000"], ["submit", "--name", "echo"],
           ["cancel", "01890000-0000-7000-8000-000000000000"], ["explain", "01890000-0000-7000-8000-000000000000"], ["dead", "ls"], ["policy", "ls"], ["db", "doctor"])


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
