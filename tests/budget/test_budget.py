"""What a step costs in instructions: counted, so that neither a busy machine nor a fast one changes it."""

import pytest

from budget import program
from budget.program import BUDGETS, Budgets


@pytest.fixture(scope="module")
def built():
    program.build()
    return program.found()


@pytest.fixture(scope="module")
def figures(built):
    toolchain, programs = built
    if toolchain != BUDGETS.toolchain:
        pytest.skip(f"other compiler: built with {toolchain}, while the budgets are of {BUDGETS.toolchain}")
    return program.measure(programs)


def test_each_path_has_a_budget(built):
    assert {*built[1], "loop"} == set(BUDGETS.figures)


@pytest.mark.parametrize("path", BUDGETS.figures)
def test_a_step_stays_within_its_budget(path, figures, capsys):
    with capsys.disabled():
        print(f"\n{BUDGETS.line(path, figures[path])}", end=" ")
    assert BUDGETS.verdict(path, figures[path]) is None


@pytest.mark.parametrize(("figure", "said"), [(1000, None), (1050, None), (950, None), (1051, "5.1 % above"), (949, "5.1 % below")])
def test_both_ends_of_the_tolerance(figure, said):
    verdict = Budgets("gcc", 5, {"scan": 1000}).verdict("scan", figure)
    assert verdict is None if said is None else verdict.startswith(said)


def test_the_file_is_as_it_is_written():
    assert (program.HERE / "budgets.txt").read_text() == BUDGETS.text()
