"""Fixtures of the end-to-end tests."""

import pytest

from support.cell import Cell, Ledger


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
