"""The counts of docs/compatibility.md: one row for each file of vectors, and they agree with the differences that it lists. That
they are what came out is checked by the tests that try the vectors."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "compatibility.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
COUNTS = {cells[0].strip("`"): cells[1:] for cells in ROWS if re.fullmatch(r"`\w+\.json`|all", cells[0])}
FILES = sorted(path.name for path in (ROOT / "tests" / "kser").glob("*.json"))


def listed(family):
    """({vectors that differ}, {vectors that do not apply}), by name."""
    differ, inapplicable = set(), set()
    for cells in ROWS:
        if cells[0] == f"`{family}`":
            names = re.findall(r"`([^`]+)`", cells[1])
            (inapplicable if cells[3].startswith("does not apply") else differ).update(names)
    return differ, inapplicable


@pytest.mark.parametrize("file", FILES)
def test_counts(file):
    assert file in COUNTS, f"docs/compatibility.md has no row of counts for {file}"
    cases = json.loads((ROOT / "tests" / "kser" / file).read_text())["cases"]
    names = [case.get("name") or case["do"] for case in cases]
    assert len(set(names)) == len(names)
    differ, inapplicable = listed(file.removesuffix(".json"))
    assert differ | inapplicable <= set(names), "a vector is listed that is not there"
    assert list(map(int, COUNTS[file][:4])) == [len(names), len(names) - len(differ) - len(inapplicable), len(differ), len(inapplicable)]
    for tried_by in re.findall(r"`([^`]+)`", COUNTS[file][4]):
        assert (ROOT / tried_by).exists(), tried_by


def test_the_sum():
    rows = [list(map(int, cells[:4])) for file, cells in COUNTS.items() if file != "all"]
    assert list(map(int, COUNTS["all"][:4])) == [sum(column) for column in zip(*rows)]
    assert set(COUNTS) == {*FILES, "all"}
