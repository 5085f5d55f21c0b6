"""The program kser on a database of the test's own."""

import pytest

from cli.program import Kser


@pytest.fixture
def kser(processes, database):
    return Kser(processes, database)


@pytest.fixture
def bare(processes):
    """The program without a database: bare("ls")."""
    def run(*arguments, **options):
        return processes.run("kser", *arguments, **options)
    return run
