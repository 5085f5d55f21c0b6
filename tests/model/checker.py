"""Runs the models with Spin: generate, compile, explore, judge."""

import re
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from catalogue import FOLDER, HOLDS, Run

MEMORY_MB = 2800  # each of two at a time
QUICK_SECONDS = 120
FULL_SECONDS = 900
SAMPLE_MINUTES = 2


@dataclass
class Outcome:
    run: Run
    verdict: str = "?"  # ok, or what is wrong
    states: int = 0
    depth: int = 0
    seconds: float = 0.0
    said: str = ""      # the checker's own words

    @property
    def ok(self):
        return self.verdict == "ok"


def number(pattern, text):
    found = re.search(pattern, text, re.M)
    return int(float(found[1])) if found else 0


def call(arguments, folder, seconds):
    done = subprocess.run(arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          timeout=seconds, check=False)
    return done.stdout


def judged(run, said):
    """What the search showed, against what it has to show."""
    if "errors:" not in said:
        return "did not run"
    violated = number(r"errors: (\d+)", said) > 0
    if violated and "assertion violated" not in said:
        return "failed otherwise than by an assertion"
    if run.kind != HOLDS:
        return "ok" if violated else {"mutant": "survived", "probe": "not reached"}[run.kind]
    if violated:
        return "violated"
    if not run.bitstate and re.search(r"max search depth too small|memory limit|out of memory|Search not completed", said):
        return "not explored to the end"
    return "ok"


def explore(run, folder):
    defines = ["-D" + define for define in run.defines]
    model = FOLDER / f"{run.model}.pml"
    said = call(["spin", "-a", *defines, str(model)], folder, 60)
    if not (folder / "pan.c").exists() or "Error" in said:
        return said
    options = ["-O0" if run.quick else "-O2", "-w", "-DSAFETY", "-DNOFAIR", f"-DMEMLIM={MEMORY_MB}", "-DBITSTATE" if run.bitstate else "-DCOLLAPSE"]
    said = call(["cc", *options, "-o", "pan", "pan.c"], folder, 300)
    if not (folder / "pan").exists():
        return said
    # -E: a log that is full blocks its writers, which is no error here; what must not get stuck says so by assertions.
    search = ["-m20000", "-w18"] if run.quick else ["-m1000000", "-w30", f"-Q{SAMPLE_MINUTES}"] if run.bitstate else ["-m1000000", "-w24"]
    return call(["nice", "-n", "0" if run.quick else "15", "./pan", "-E", "-n", *search], folder, QUICK_SECONDS if run.quick else FULL_SECONDS)


def check(run):
    outcome = Outcome(run)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kser-model-") as folder:
        try:
            outcome.said = explore(run, Path(folder))
            outcome.verdict = judged(run, outcome.said)
        except subprocess.TimeoutExpired:
            outcome.verdict = "took too long"
    outcome.seconds = time.monotonic() - began
    outcome.states = number(r"^\s*([0-9.e+]+) states, stored", outcome.said)
    outcome.depth = number(r"depth reached (\d+)", outcome.said)
    return outcome


def check_all(runs):
    """Two at a time, as outcomes come, in the order of the runs."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield from pool.map(check, runs)
