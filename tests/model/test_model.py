"""The protocol's models at small sizes: each holds, each mutant is caught, each probe is reached. All sizes: scripts/model."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import catalogue  # noqa: E402
import checker  # noqa: E402

pytestmark = pytest.mark.timeout(900)  # the first one waits for all
QUICK = [run for run in catalogue.RUNS if run.quick]


@pytest.fixture(scope="module")
def outcomes(request):
    """All that are wanted are explored together, on two cores."""
    wanted = [item.callspec.params["run"] for item in request.session.items
              if item.path == request.path and "run" in getattr(item, "callspec", None).params]
    return {outcome.run.name: outcome for outcome in checker.check_all(wanted)}


@pytest.mark.parametrize("run", QUICK, ids=lambda run: run.name)
def test_model(run, outcomes):
    outcome = outcomes[run.name]
    assert outcome.ok, f"{run.kind} {run.name}: {outcome.verdict}\n{outcome.said[-2000:]}"
