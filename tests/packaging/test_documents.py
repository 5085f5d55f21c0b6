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


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_to_files(document):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    broken = [target for target in targets if "://" not in target and not (document.parent / target).exists()]
    assert not broken


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
