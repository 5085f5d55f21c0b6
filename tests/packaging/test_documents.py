"""What stands in documents and scripts leads somewhere."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRACKED = [ROOT / line for line in subprocess.run(["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()]
DOCUMENTS = [path for path in TRACKED if path.suffix == ".md" and path.exists()]
SCRIPTS = [path for path in TRACKED if path.parent in (ROOT / "scripts", ROOT / ".ci", ROOT / "packaging") and path.exists()]


def name(path):
    return str(path.relative_to(ROOT))


NAMES = {path.name for path in TRACKED if path.exists()}
FOLDERS = {path.relative_to(ROOT).parts[0] for path in TRACKED if path.parent != ROOT and path.exists()}
PLACEHOLDER = re.compile(r"NNNN|NAME|[<*{…$]")


def paths_named(text):
    """What stands in backquotes and looks like a file or folder of the project: below one of its
    folders, or the bare name of a source or document."""
    for quoted in re.findall(r"`([^`\n]+)`", text):
        word = quoted.split()[0]
        below = "/" in word and word.split("/")[0] in FOLDERS
        bare = re.fullmatch(r"[\w-]+\.(md|c|h|sql|sh)", word)
        if (below or bare) and not PLACEHOLDER.search(word):
            yield word


def leads_somewhere(word, document):
    return (ROOT / word).exists() or (document.parent / word).exists() or ("/" not in word and word in NAMES)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_paths_named_exist(document):
    assert not [word for word in sorted(set(paths_named(document.read_text()))) if not leads_somewhere(word, document)]


def test_wrong_paths_are_found():
    text = "see `cli/gone.c`, `scripts/test --asan`, `gone.md`, `sql/` and not `migrations/NNNN_name.sql`, `apache/kafka:3`, `a/b`, `.c`, `json`"
    named = list(paths_named(text))
    assert named == ["cli/gone.c", "scripts/test", "gone.md", "sql/"]
    assert [word for word in named if not leads_somewhere(word, ROOT / "README.md")] == ["cli/gone.c", "gone.md"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_scripts_named_exist(document):
    named = set(re.findall(r"(?<![\w/.])((?:scripts|packaging|examples)/[A-Za-z0-9_./-]*[A-Za-z0-9_])", document.read_text()))
    assert not [path for path in sorted(named) if not (ROOT / path).exists() and not (document.parent / path).exists()]


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_scripts_parse_and_can_be_run(script):
    assert script.stat().st_mode & 0o111, "not executable"
    first = script.read_text().splitlines()[0]
    if "python3" in first:
        compile(script.read_text(), script, "exec")
    else:
        assert first in ("#!/bin/bash", "#!/bin/sh"), first
        subprocess.run([first[2:], "-n", script], check=True)


def known_members(function):
    """The names that a function of sql/ takes, of the array that its complaint about others lists."""
    text = (ROOT / "sql" / f"{function}.sql").read_text()
    lists = {tuple(re.findall(r"'(\w+)'", names)) for names in re.findall(r"(?:known constant text\[\] := | - )array\[([^]]*)\]", text)}
    assert len(lists) == 1, lists
    return set(lists.pop())


@pytest.mark.parametrize("function, heading", [("operation_problem", "An operation"), ("task_problem", "A task"), ("policy_problem", "A policy")])
def test_each_member_of_a_submission_is_documented(function, heading):
    section = (ROOT / "docs" / "submit.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.M)) == known_members(function)
