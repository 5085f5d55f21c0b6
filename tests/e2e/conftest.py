"""Fixtures of the end-to-end tests."""

import secrets

import pytest

from support.cell import Cell, Ledger
from support.processes import Processes


@pytest.fixture(autouse=True)
def servers(postgres, kafka):
    """Both servers run when a test begins, whatever the one before did to them."""
    if not postgres.running():
        postgres.start()
    if not kafka.running():
        kafka.start()


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path)


@pytest.fixture
def cell(servers, database, kafka, prefix, processes, ledger):
    """A database, a topic prefix and the means to start programs on them. Nothing runs yet."""
    return Cell(database, kafka, prefix, processes, ledger)


@pytest.fixture
def running_cell(cell):
    """A cell with one orchestrator and one worker."""
    cell.start()
    return cell


@pytest.fixture(scope="module")
def shared_cell(postgres, kafka, template, binaries, tmp_path_factory):
    """As cell, one for all tests of a module: what a test starts there may still run in the next one, which sets a ledger of its
    own. Mark the module with xdist_group, so that one process runs all of it."""
    for server in (postgres, kafka):
        if not server.running():
            server.start()
    database = postgres.create(template.name)
    directory = tmp_path_factory.mktemp("shared")
    processes = Processes(binaries, directory)
    yield Cell(database, kafka, f"t{secrets.token_hex(5)}", processes, Ledger(directory))
    wrong = processes.end_all()
    database.drop()
    assert not wrong, "\n".join(wrong)
