"""A throw-away PostgreSQL server, and the databases that tests make on it."""

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path

import psycopg2
import psycopg2.extras

from support.ports import free_port
from support.waiting import wait_until

psycopg2.extras.register_uuid()

PROGRAMS = Path(os.environ.get("KSER_POSTGRES_BIN", "/usr/lib/postgresql/15/bin"))
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "log_line_prefix": "%m %p %a: ",
    "log_checkpoints": "off",
    "max_wal_size": "4GB",
}


class Postgres:
    """One server in a directory of its own, reached by a socket there and by 127.0.0.1:port, with trust for all.
    Commits are durable as in production, unless `settings` say otherwise. A server cannot run as root: then it runs as the user postgres."""

    def __init__(self, directory=None, **settings):
        """`directory`: an empty one to live in, instead of a new one; `settings`: of postgresql.conf, beside SETTINGS."""
        self.directory = Path(directory or tempfile.mkdtemp(prefix="kser-pg-"))
        self.settings = {**SETTINGS, **settings}
        self.environment = {}
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.port = free_port()
        self.process = None
        self.account = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        if self.account:
            shutil.chown(self.directory, "postgres", "postgres")
        self.run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D", self.data)

    def run(self, program, *arguments):
        done = subprocess.run([PROGRAMS / program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, cwd=self.directory, **self.account)
        assert done.returncode == 0, f"{program}: {done.stdout}"

    def start(self):
        settings = [f"-c{name}={value}" for name, value in self.settings.items()]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([PROGRAMS / "postgres", "-D", self.data, "-p", str(self.port), "-k", self.directory, *settings],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                                            env={**os.environ, **self.environment}, **self.account)
        wait_until(self.answers, 60, f"PostgreSQL to start, see {self.log}")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def answers(self):
        assert self.running(), f"PostgreSQL ended: {self.log.read_text()}"
        try:
            psycopg2.connect(self.url("postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True

    def stop(self, number=signal.SIGINT):
        """SIGINT ends every session and shuts down in order; SIGQUIT is the crash, followed by recovery at the next start."""
        if self.running():
            self.process.send_signal(number)
            self.process.wait(60)

    def crash(self):
        self.stop(signal.SIGQUIT)

    def remove(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, name):
        return f"postgresql:///{name}?host={self.directory}&port={self.port}&user=postgres"

    def execute(self, statement):
        """Runs one statement outside any transaction, in the server's own database."""
        connection = psycopg2.connect(self.url("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    def create(self, template="template0"):
        """A new database, a copy of `template`."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.execute(f"create database {name} template {template}")
        return Database(self, name)


class Database(str):
    """A database: as a string its URL, as programs take it."""

    def __new__(cls, server, name):
        self = super().__new__(cls, server.url(name))
        self.server = server
        self.name = name
        return self

    @property
    def tcp(self):
        """The same database by 127.0.0.1."""
        return f"postgresql://postgres@127.0.0.1:{self.server.port}/{self.name}"

    def connect(self, autocommit=True, **options):
        """A psycopg2 connection; json columns come as Python values, uuids as uuid.UUID."""
        connection = psycopg2.connect(str(self), **options)
        connection.autocommit = autocommit
        return connection

    def query(self, statement, *parameters):
        """The rows of one statement, as tuples, in a connection and transaction of its own; [] when it returns none."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def value(self, statement, *parameters):
        """The first column of the first row; None when there is no row."""
        rows = self.query(statement, *parameters)
        return rows[0][0] if rows else None

    def drop(self):
        self.server.execute(f"drop database if exists {self.name} with (force)")
