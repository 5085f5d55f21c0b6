"""A short selection of the fault suite (scripts/faults runs all of it): real servers, real programs, real kill -9, and the oracle."""

import pytest

from fault import report
from fault.arena import Servers
from fault.run import FAULTS, Suite
from fault.table import load_faults

load_faults()

SELECTION = ["point:apply.after_commit_before_produce", "point:worker.after_run_before_produce", "kill-worker", "kill-orchestrator", "restart-immediate", "broker-kill", "rotation"]


@pytest.fixture(scope="module")
def suite(binaries, tmp_path_factory):
    servers = Servers()
    suite = Suite(servers, binaries, tmp_path_factory.mktemp("faults"))
    try:
        yield suite
        suite.drop_arena()
    finally:
        servers.remove()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", SELECTION)
def test_fault(suite, name):
    outcome = suite.run(FAULTS[name], seed=0)
    assert not outcome.failed, "\n".join(report.problems([outcome]))
    assert outcome.operations > 50
