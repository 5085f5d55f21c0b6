"""How many instructions a step takes on each path, and how many it may take (budgets.txt).

A program is run under valgrind for so many steps and for twice as many: the difference is the steps' own. It depends on the compiler and the C
library, not on what else runs, nor on the processor: the C library is kept from what only some processors have."""

import argparse
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = ROOT / "build" / "bench" / "tests"
PROGRAMS = ("budget-orchestrator", "budget-worker")
STEPS = 1500
ENVIRONMENT = {"PATH": os.environ["PATH"], "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-SSSE3,-ERMS,-FSRM"}

HEAD = """\
# Instructions of a step on each path, as tests/budget/run --update writes them (docs/performance.md). The toolchain is Debian 12's; with
# another one all figures are others, and nothing is compared. A figure that is further from its budget than the tolerance, above or below, is a failure.
"""


class Budgets:
    def __init__(self, toolchain, tolerance, figures):
        self.toolchain, self.tolerance, self.figures = toolchain, tolerance, figures

    @classmethod
    def of_text(cls, text):
        rows = dict(line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#"))
        return cls(rows.pop("toolchain"), float(rows.pop("tolerance").rstrip(" %")), {path: int(figure) for path, figure in rows.items()})

    def text(self):
        rows = {"toolchain": self.toolchain, "tolerance": f"{self.tolerance:g} %", **self.figures}
        return HEAD + "".join(f"{name:<10} {value}\n" for name, value in rows.items())

    def verdict(self, path, figure):
        """None: within its budget."""
        if path not in self.figures:
            return "has no budget: tests/budget/run --update"
        more = figure - self.figures[path]
        if 100 * abs(more) <= self.tolerance * self.figures[path]:
            return None
        change = 100 * more / self.figures[path]
        if change > 0:
            return f"{change:.1f} % above its budget: mend it, or tell in the commit why it is worth that, and tests/budget/run --update"
        return f"{-change:.1f} % below its budget: tests/budget/run --update, so that it stays there"

    def line(self, path, figure):
        return f"{path:<10} {figure:>7} instructions a step, budget {self.figures.get(path, 'none')}"


BUDGETS = Budgets.of_text((HERE / "budgets.txt").read_text())


def build():
    log = ROOT / "build" / "log" / "budget-build.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        for command in (["cmake", "--preset", "bench"], ["cmake", "--build", "--preset", "bench", "--target", *PROGRAMS]):
            if subprocess.run(command, cwd=ROOT, stdout=out, stderr=out).returncode:
                raise RuntimeError(f"could not build, see {log}")


def found():
    """The toolchain that the programs were built with, and which of them has which path."""
    told = {program: subprocess.run([BUILT / program], stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines() for program in PROGRAMS}
    return told[PROGRAMS[0]][0], {path: program for program, lines in told.items() for path in lines[1:]}


def instructions(program, path, steps):
    done = subprocess.run(["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", BUILT / program, path, str(steps)],
                          env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    count = re.search(r"I +refs: +([\d,]+)", done.stdout)
    if done.returncode or not count:
        raise RuntimeError(f"{program} {path} {steps} ended with {done.returncode}:\n{done.stdout}")
    return int(count[1].replace(",", ""))


def with_loop(figures):
    """With what a lane does besides the paths within it, where all of them are known; of ten results nine cause a dispatch (lane.c)."""
    if not {"lane", "read", "batch", "dispatch"} <= set(figures):
        return figures
    return {**figures, "loop": round(figures["lane"] - figures["read"] - figures["batch"] - 0.9 * figures["dispatch"])}


def measure(programs):
    """{path: instructions a step} for {path: program}."""
    runs = [(program, path, steps) for path, program in programs.items() for steps in (STEPS, 2 * STEPS)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = list(pool.map(lambda run: instructions(*run), runs))
    return with_loop({path: round((counts[2 * i + 1] - counts[2 * i]) / STEPS) for i, path in enumerate(programs)})


def main():
    parser = argparse.ArgumentParser(prog="tests/budget/run", description="Counts the instructions of a step on each path and compares them with their budgets.")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="some of them; without: all")
    parser.add_argument("--update", action="store_true", help="write what was counted into budgets.txt")
    options = parser.parse_args()
    build()
    toolchain, programs = found()
    unknown = set(options.paths) - set(programs)
    if unknown:
        parser.error(f"no such path: {', '.join(sorted(unknown))}; there are {', '.join(programs)}")
    if toolchain != BUDGETS.toolchain and (options.paths or not options.update):
        parser.error(f"built with {toolchain}, while the budgets are of {BUDGETS.toolchain}")
    figures = measure({path: programs[path] for path in options.paths or programs})
    wrong = {path: BUDGETS.verdict(path, figure) for path, figure in figures.items()}
    for path, figure in figures.items():
        print(BUDGETS.line(path, figure) + (f": {wrong[path]}" if wrong[path] and not options.update else ""))
    if options.update:
        kept = BUDGETS.figures if options.paths else {}
        (HERE / "budgets.txt").write_text(Budgets(toolchain, BUDGETS.tolerance, {**kept, **figures}).text())
    return int(any(wrong.values()) and not options.update)
