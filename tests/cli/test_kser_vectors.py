"""kser message check, sum and open against what the Python library kser does (tests/kser), as docs/compatibility.md tells it."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("vectors")  # the last test looks at what all others counted

ROOT = Path(__file__).resolve().parents[2]


def cases(family):
    return json.loads((ROOT / "tests" / "kser" / f"{family}.json").read_text())["cases"]


def rows(family):
    """The page's rows of one family: the vectors, what happens here."""
    for line in (ROOT / "docs" / "compatibility.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == f"`{family}`":
            yield cells[1], cells[3]


def refusals(family):
    """What is refused here though kser takes it, by the vector's name, with words of the reason."""
    return {name: re.search(r"refused: `(.*)`", here).group(1)
            for which, here in rows(family) if here.startswith("refused") for name in re.findall(r"`([^`]+)`", which)}


def vectors(family):
    listed = refusals(family)
    return [pytest.param(case, listed.get(case["name"]), id=case["name"]) for case in cases(family)]


TRIED = Counter()  # by family and whether the program agreed with kser


def agree(done, taken, expected, refusal):
    """Whether the program did what kser does: took it and made `expected` of it, or refused it; unless it is listed."""
    if refusal:
        assert taken, "it is listed, but kser refuses it too"
        assert done.returncode == 2 and refusal in done.stderr
    elif not taken:
        assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    else:
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") == 1
        made = json.loads(done.stdout)
        assert made == expected
        return made


def without_random(message, model):
    """The message with the mark of the vectors in place of a uuid that was drawn."""
    if model and model["result"]["uuid"] == "<random>" and re.fullmatch(r"[0-9a-f-]{36}", message["result"]["uuid"]):
        message["result"]["uuid"] = "<random>"
    return message


@pytest.mark.parametrize("case, refusal", vectors("messages"))
def test_messages(bare, case, refusal):
    done = bare("message", "check", "-", input=case["raw"])
    if done.returncode == 0:
        done.stdout = json.dumps(without_random(json.loads(done.stdout), case.get("decoded"))) + "\n"
    agree(done, case["loads"], case.get("decoded"), refusal)
    TRIED["messages", not refusal] += 1


@pytest.mark.parametrize("case, refusal", vectors("results_add"))
def test_sums(bare, tmp_path, case, refusal):
    for name in "ab":
        (tmp_path / name).write_text(json.dumps(case[name]))
    made = agree(bare("message", "sum", tmp_path / "a", tmp_path / "b"), case.get("sum") is not None, case.get("sum"), refusal)
    TRIED["results_add", not refusal] += 1
    if made:
        assert list(made["retval"]) == list(case["sum"]["retval"])


@pytest.mark.parametrize("case, refusal", vectors("crypto"))
def test_seals(bare, case, refusal):
    environment = {} if case.get("key") is None else {"KSER_SECRETBOX_KEY": case["key"]}
    agree(bare("message", "open", "-", input=case["envelope"], environment=environment), case["decrypts"], case.get("decoded"), refusal)
    TRIED["crypto", not refusal] += 1


# Behind the others: what they counted is what the page says.
@pytest.mark.parametrize("family", ["messages", "results_add", "crypto"])
def test_the_page_counts_right(family):
    page = (ROOT / "docs" / "compatibility.md").read_text()
    in_all, same, different = map(int, re.search(rf"\| `{family}\.json` \| (\d+) \| (\d+) \| (\d+) \|", page).groups())
    assert set(refusals(family)) <= {case["name"] for case in cases(family)}
    assert (in_all, different) == (len(cases(family)), len(refusals(family)))
    if TRIED[family, True] + TRIED[family, False] == in_all:  # none was left out or failed
        assert (TRIED[family, True], TRIED[family, False]) == (same, different)
