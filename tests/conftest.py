"""What the tests stand on: real servers of their own, a fresh database and topic prefix each, programs with logs."""

import os
import secrets
from pathlib import Path

import pytest

from support.kafka import Kafka
from support.postgres import Postgres
from support.processes import Processes

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def binaries():
    """The folder of the programs under test: KSER_BIN, or the preset dev's."""
    folder = Path(os.environ.get("KSER_BIN") or ROOT / "build" / "dev" / "bin").resolve()
    if not (folder / "kser").exists():
        pytest.exit(f"no programs in {folder}: build first (cmake --preset dev && cmake --build --preset dev), or set KSER_BIN", 2)
    return folder


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server for the whole run."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def template(postgres, binaries, tmp_path_factory):
    """A migrated database that `database` is copied from."""
    database = postgres.create()
    done = Processes(binaries, tmp_path_factory.mktemp("template")).run("kser", "--database", database, "db", "migrate")
    assert done.returncode == 0, f"kser db migrate: {done.stdout}{done.stderr}"
    return database


@pytest.fixture
def empty_database(postgres):
    """A database without kser's schema."""
    database = postgres.create()
    yield database
    database.drop()


@pytest.fixture
def database(postgres, template):
    """A fresh, migrated database: its URL, with query(), value() and connect()."""
    database = postgres.create(template.name)
    yield database
    if not postgres.running():
        postgres.start()
    database.drop()


@pytest.fixture
def connect(database):
    """connect(autocommit=True): further sessions on the test's database, closed at its end."""
    opened = []

    def connect(autocommit=True, **options):
        opened.append(database.connect(autocommit, **options))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture(scope="session")
def kafka():
    """A real Apache Kafka broker for the whole run."""
    broker = Kafka()
    try:
        broker.start()
        yield broker
    finally:
        broker.remove()


@pytest.fixture
def prefix():
    """A topic prefix that nobody else uses."""
    return f"t{secrets.token_hex(5)}"


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Leaves word for the fixtures whether the test itself failed."""
    outcome = yield
    item.failed = getattr(item, "failed", False) or outcome.get_result().failed


@pytest.fixture
def processes(request, binaries, tmp_path):
    """Starts kser's programs; at the end none is left, and no sanitizer has complained in any log."""
    started = Processes(binaries, tmp_path)
    yield started
    wrong = started.end_all()
    if wrong or getattr(request.node, "failed", False):
        for process in started.started:
            print(f"--- {process.name}, exit code {process.returncode}, {process.log}\n{process.tail()}")
    assert not wrong, "\n".join(wrong)
