"""kser dev: everything at once, and nothing of it afterwards."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg2
import pytest

from support.processes import Process, clean_environment
from support.seal import new_key
from support.waiting import stays, wait_until

OTHER_USER = "nobody"


def parent_of(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:  # it has ended
        return None


def descendants(pid):
    """The processes below `pid`, with their command lines: {pid: text}. One that is ending has none any more."""
    parents = {int(entry.name): parent_of(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found, added = {pid}, True
    while added:
        added = {child for child, parent in parents.items() if parent in found} - found
        found |= added
    return {child: line for child in found - {pid} if (line := command_line(child))}


def left_behind(temporary):
    return list(Path(temporary).glob("kser-dev-*"))


class Stack:
    """A dev stack that is starting or runs. Its temporary files are in a folder that only it uses."""

    def __init__(self, binaries, *arguments, directory=None, temporary="kser-t-", before=(), environment=None):
        self.temporary = Path(tempfile.mkdtemp(prefix=temporary, dir="/tmp"))
        self.temporary.chmod(0o777)
        self.directory = directory
        self.binaries = binaries
        self.log = self.temporary / "dev.log"
        where = ["--dir", directory] if directory else []
        settings = clean_environment(TMPDIR=str(self.temporary), **(environment or {}))
        self.process = Process("kser dev", [*before, binaries / "kser", "dev", *where, *arguments], self.log, settings)

    def text(self):
        return self.log.read_text(errors="replace")

    def ready(self):
        """Waits until env is there; returns what it exports."""
        def written():
            assert self.process.running, self.text()
            return self.env.exists()
        wait_until(lambda: "starting in" in self.text() or not self.process.running, 30, "the stack's directory")
        wait_until(written, 60, "DIR/env")
        lines = subprocess.run(["bash", "-c", f'set -a; . "$0"; env -0', self.env], stdout=subprocess.PIPE, env={}, check=True).stdout.decode().split("\0")
        self.exports = {name: value for name, _, value in (line.partition("=") for line in lines if line) if name.startswith(("KSER_", "PG"))}
        return self.exports

    @property
    def env(self):
        return Path(self.directory or self.text().partition("starting in ")[2].splitlines()[0]) / "env"

    def kser(self, *arguments, seconds=60, **options):
        done = subprocess.run([self.binaries / "kser", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=seconds,
                              env=clean_environment(**self.exports), **options)
        return done

    def pid(self, program):
        return next(pid for pid, line in descendants(self.process.pid).items() if program in line.split()[0])

    def stop(self, number=signal.SIGINT):
        """Sends the signal and waits for the end; nothing may be left: the exit code."""
        below = descendants(self.process.pid)
        self.process.signal(number)
        code = self.process.wait(60)
        self.check_gone(below)
        return code

    def check_gone(self, below):
        wait_until(lambda: not [line for pid, line in below.items() if alive(pid)], 30, "all processes to be gone")
        assert left_behind(self.temporary) == []

    def remove(self):
        if self.process.running:
            self.process.signal(signal.SIGINT)
            self.process.signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except AssertionError:
                self.process.kill()
        shutil.rmtree(self.temporary, ignore_errors=True)


@pytest.fixture
def stack(request, binaries):
    """stack(...) starts one; all are removed at the end."""
    started = []

    def start(*arguments, binaries=binaries, **options):
        started.append(Stack(binaries, *arguments, **options))
        return started[-1]

    yield start
    for one in started:
        if getattr(request.node, "failed", False):
            print(f"--- {one.process.child.args}\n{one.text()}")
        one.remove()


def run_something(stack):
    done = stack.kser("submit", "-", "--wait", "--timeout", "50s", input=json.dumps(
        {"name": "try", "tasks": [{"entrypoint": "echo", "params": {"text": "hello"}}, {"entrypoint": "dice"}]}))
    assert done.returncode == 0, done.stderr
    return json.loads(stack.kser("show", done.stdout.strip(), "-o", "json").stdout)


def test_a_whole_stack_and_nothing_of_it_afterwards(stack, tmp_path):
    directory = tmp_path / "new"
    one = stack(directory=directory)
    exports = one.ready()
    assert [task["status"] for task in run_something(one)["tasks"]] == ["SUCCESS", "SUCCESS"]
    assert len(json.loads(one.kser("worker", "ls", "-o", "json").stdout)) == 1
    assert exports["KSER_DATABASE_URL"] in one.text() and exports["KSER_BROKERS"] in one.text() and str(directory / "env") in one.text()
    assert sorted(path.name for path in (directory / "log").iterdir()) == ["orchestrator.log", "postgres.log", "worker.log"]
    assert one.stop(signal.SIGINT) == 0
    assert not directory.exists()


def test_libpq_settings_lead_to_the_database(stack):
    one = stack("--no-worker")
    exports = one.ready()
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    connection = psycopg2.connect(**{name: exports[variable] for name, variable in names.items()})
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from kser.instances")
        assert cursor.fetchone() == (1,)
    connection.close()
    assert one.stop(signal.SIGTERM) == 0


@pytest.fixture
def readable(binaries):
    """A folder for any user, with a copy of the programs."""
    place = Path(tempfile.mkdtemp(prefix="kser-t-", dir="/tmp"))
    place.chmod(0o777)
    for folder in ("bin", "lib"):
        if (binaries.parent / folder).exists():
            shutil.copytree(binaries.parent / folder, place / folder)
    yield place
    shutil.rmtree(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="is the ordinary case already")
def test_as_an_ordinary_user(readable, stack):
    user = ["/usr/bin/setpriv", "--reuid", OTHER_USER, "--regid", "nogroup", "--clear-groups", "/usr/bin/env", f"LD_LIBRARY_PATH={readable}/lib"]
    one = stack(directory=readable / "dir", before=user, binaries=readable / "bin")
    one.ready()
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in descendants(one.process.pid)}
    assert owners == {(readable / "dir").stat().st_uid} and owners != {0}
    done = subprocess.run([*user, readable / "bin" / "kser", "submit", "--name", "echo", "--wait", "--timeout", "50s"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment(**one.exports))
    assert done.returncode == 0, done.stderr
    assert one.stop() == 0
    assert not (readable / "dir").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")
def test_as_root_postgres_is_not_root_and_its_socket_is_private(stack):
    one = stack("--no-worker")
    exports = one.ready()
    assert Path(f"/proc/{one.pid('/postgres')}").stat().st_uid != 0
    assert Path(exports["PGHOST"]).stat().st_mode & 0o077 == 0
    assert one.env.stat().st_mode & 0o077 == 0


def test_a_directory_that_was_there_keeps_what_was_in_it(stack, tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "mine").write_text("mine")
    (tmp_path / "env").write_text("export OLD=1")
    (tmp_path / "empty").mkdir()
    one = stack("--no-worker", directory=tmp_path)
    other = stack("--no-worker", directory=tmp_path / "empty")
    for each in (one, other):
        wait_until(lambda: "starting in" in each.text(), 30, "the start")
        each.ready()
    assert other.stop() == 0
    assert one.stop(signal.SIGTERM) == 0
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["empty", "log", "log/mine", "mine"]


def test_a_directory_in_use_is_refused(stack, binaries, tmp_path):
    one = stack("--no-worker", directory=tmp_path / "d")
    one.ready()
    second = stack("--no-worker", directory=tmp_path / "d")
    assert second.process.wait() == 5
    assert "another kser dev lives in" in second.text() and left_behind(second.temporary) == []
    assert one.process.running and one.env.exists() and one.kser("ls").returncode == 0
    assert one.stop() == 0


def of_another_user(directory):
    os.chown(directory, pwd.getpwnam(OTHER_USER).pw_uid, -1)


def behind_a_link(directory):
    directory.rename(directory.with_name("real"))
    directory.symlink_to("real")


def with_logs_behind_a_link(directory):
    (directory / "real").mkdir()
    (directory / "log").symlink_to("real")


def with_open_logs(directory):
    (directory / "log").mkdir()
    (directory / "log").chmod(0o777)


# Others source what stands there: nobody else may have had, or get, a hand in it.
@pytest.mark.parametrize("spoil, reason", [
    pytest.param(of_another_user, "d belongs to another user", marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")),
    (lambda directory: directory.chmod(0o770), "others can write in"),
    (lambda directory: directory.chmod(0o707), "others can write in"),
    (behind_a_link, "d is a symbolic link"),
    (with_logs_behind_a_link, "log is a symbolic link"),
    (with_open_logs, "others can write in"),
], ids=["owner", "group", "others", "link", "log link", "log others"])
def test_a_directory_that_others_could_change_is_refused(stack, tmp_path, spoil, reason):
    directory = tmp_path / "d"
    directory.mkdir()
    spoil(directory)
    before = sorted(tmp_path.rglob("*"))
    for name in (directory, f"{directory}/"):
        one = stack("--no-worker", directory=name)
        assert one.process.wait(30) == 2 and reason in one.text()
        assert left_behind(one.temporary) == []
    assert sorted(tmp_path.rglob("*")) == before


# What a stack that was killed left, or somebody put there: it is neither written through nor does its mode count.
def test_files_in_the_way_are_replaced(stack, tmp_path):
    directory, elsewhere = tmp_path / "d", tmp_path / "elsewhere"
    (directory / "log").mkdir(parents=True)
    elsewhere.write_text("mine")
    for name in ("env.new", "env", "log/worker.log", "log/orchestrator.log", "log/postgres.log"):
        (directory / name).symlink_to(elsewhere)
    one = stack(directory=directory)
    one.ready()
    assert not one.env.is_symlink() and one.env.stat().st_mode & 0o777 == 0o600
    assert one.stop() == 0
    assert elsewhere.read_text() == "mine"
    (directory / "env.new").write_text("")
    (directory / "env.new").chmod(0o644)
    again = stack("--no-worker", directory=directory)
    again.ready()
    assert again.env.stat().st_mode & 0o777 == 0o600


# Killed at once: it cannot clean up, but nothing of it may go on running, and the next one in that directory works.
def test_a_stack_that_is_killed_takes_its_programs_with_it(stack, tmp_path):
    one = stack(directory=tmp_path / "d")
    one.ready()
    below = descendants(one.process.pid)
    assert len(below) >= 3
    one.process.kill()
    wait_until(lambda: not [line for pid, line in below.items() if alive(pid)], 30, "all processes to be gone")
    again = stack("--no-worker", directory=tmp_path / "d")
    again.ready()
    assert again.stop() == 0


@pytest.mark.parametrize("program", ["kser-orchestrator", "kser-worker", "/postgres"])
def test_one_that_dies_ends_all_and_is_named(stack, tmp_path, program):
    one = stack(directory=tmp_path / "d")
    one.ready()
    below = descendants(one.process.pid)
    os.kill(one.pid(program), signal.SIGKILL)
    assert one.process.wait(60) == 1
    one.check_gone(below)
    name = "PostgreSQL" if program == "/postgres" else program
    assert f"kser dev: {name} ended by itself (signal 9)" in one.text() and "the last lines of its log" in one.text()
    assert not one.env.exists() and len(list((tmp_path / "d" / "log").iterdir())) == 3


def test_wrong_settings_of_the_worker_are_shown(stack, tmp_path):
    config = tmp_path / "worker.ini"
    config.write_text("[worker]\nslots = many\n")
    one = stack("--worker-config", config)
    assert one.process.wait(60) == 1
    assert "kser-worker ended by itself (exit status 2)" in one.text() and "slots" in one.text().partition("last lines")[2]
    assert left_behind(one.temporary) == []


# With a key in dev's own environment, which both programs get and DIR/env does not tell.
def test_entrypoints_of_the_workers_file_come_on_top(stack, tmp_path):
    config = tmp_path / "worker.ini"
    config.write_text("[entrypoint greet]\ncommand = printf 'good %s' {what}\n")
    one = stack("--worker-config", config, environment={"KSER_SECRETBOX_KEY": new_key()})
    assert "KSER_SECRETBOX_KEY" not in one.ready()
    for program in ("orchestrator", "worker"):
        assert 'message="messages are sealed" keys=1' in (one.env.parent / "log" / f"{program}.log").read_text()
    done = one.kser("submit", "--name", "greet", "-p", "what=day", "--wait", "--timeout", "50s")
    assert done.returncode == 0, done.stderr
    assert json.loads(one.kser("show", done.stdout.strip(), "-o", "json").stdout)["tasks"][0]["stdout"].strip() == "good day"
    run_something(one)
    assert one.stop() == 0


# The worker would wait for the command up to its drain limit: a second signal means now, also for the command.
def test_a_second_signal_means_now(stack, tmp_path):
    config = tmp_path / "worker.ini"
    config.write_text("[entrypoint long]\ncommand = sleep 600\n")
    one = stack("--worker-config", config)
    one.ready()
    one.kser("submit", "--name", "long")
    wait_until(lambda: [line for line in descendants(one.process.pid).values() if "sleep 600" in line], 30, "the command to run")
    below = descendants(one.process.pid)
    one.process.signal(signal.SIGINT)
    wait_until(lambda: "stopping" in one.text(), 30, "word that it stops")
    one.process.signal(signal.SIGINT)
    assert one.process.wait(10) == 0
    one.check_gone(below)


@pytest.mark.parametrize("moment", ["starting in", "  PostgreSQL", "  Kafka"])
def test_stopped_while_starting(stack, tmp_path, moment):
    one = stack(directory=tmp_path / "d")
    wait_until(lambda: moment in one.text(), 30, moment, pause=0.002)
    below = descendants(one.process.pid)
    one.process.terminate()
    assert one.process.wait(30) in (0, 1)
    one.check_gone(below)
    assert not (tmp_path / "d").exists()


# A terminal that closes takes the stack with it, unless it was started with nohup (as this test may be as well).
@pytest.mark.parametrize("before", [["env", "--default-signal=HUP"], ["nohup"]], ids=["plain", "nohup"])
def test_the_terminal_closes(stack, before):
    one = stack("--no-worker", before=before)
    one.ready()
    below = descendants(one.process.pid)
    one.process.signal(signal.SIGHUP)
    if before == ["nohup"]:
        stays(lambda: one.env.exists() and one.process.running, 1, "the stack runs")
        assert one.stop() == 0
    else:
        assert one.process.wait() == 0
        one.check_gone(below)


def test_a_given_database_is_used_and_left_as_it_is(stack, empty_database):
    one = stack("--database", str(empty_database), "--no-worker")
    exports = one.ready()
    assert exports["KSER_DATABASE_URL"] == str(empty_database) and exports["PGDATABASE"] == empty_database.name
    assert not [line for line in descendants(one.process.pid).values() if "/postgres " in line]
    assert one.stop() == 0
    assert empty_database.value("select count(*) from kser.meta") == 1
    assert empty_database.value("select count(*) from kser.instances") == 0, "the orchestrator had time to say good-bye"


def test_a_given_database_that_is_away(stack):
    one = stack("--database", "postgresql://127.0.0.1:1/x")
    assert one.process.wait(30) == 1 and "could not connect" in one.text()
    assert left_behind(one.temporary) == []


def test_strange_paths(stack, tmp_path):
    directory = tmp_path / "it's a $(dir)"
    one = stack("--no-worker", directory=directory, temporary="kser t%'")
    exports = one.ready()
    assert exports["PGHOST"].startswith("/tmp/kser t%'") and one.kser("ls").returncode == 0
    assert one.stop() == 0


@pytest.mark.parametrize("script, code, reason", [
    ("echo disk on fire; exit 1", 1, "initdb failed (exit status 1)\n  the last lines of its log:\n    disk on fire\n"),
    ("mkdir $2; echo 14 >$2/PG_VERSION", 2, "version 15 or newer is needed"),
])
def test_a_postgres_that_cannot_be_used(readable, stack, script, code, reason):
    for program in ("initdb", "postgres"):
        (readable / program).write_text(f"#!/bin/sh\n{script}\n")
        (readable / program).chmod(0o755)
    one = stack("--postgres-bin", readable)
    assert one.process.wait(30) == code and reason in one.text()
    assert left_behind(one.temporary) == []


@pytest.mark.parametrize("arguments, reason", [
    (["--postgres-bin", "/nowhere"], "no initdb and postgres in /nowhere"),
    (["--dir", "/nowhere/at/all"], "cannot make /nowhere/at/all"),
    (["--dir", "/dev/null"], "/dev/null"),
])
def test_what_cannot_work_is_said_at_once(stack, arguments, reason):
    one = stack(*arguments)
    assert one.process.wait(30) == 2 and reason in one.text()
    assert left_behind(one.temporary) == []
