"""The command line of the simulator."""

import argparse

from simulation.mutants import MUTANTS
from simulation.schedule import THEMES
from simulation.suite import Clock, Suite, trace_seed


def arguments():
    parser = argparse.ArgumentParser(prog="tests/simulation/run", description="Drives the real SQL functions through random schedules with faults.")
    parser.add_argument("--seeds", default="1-2000", help="A-B")
    parser.add_argument("--seed", type=int, help="one schedule")
    parser.add_argument("--theme", choices=sorted(THEMES), help="with --seed: this theme, not the one that the seed draws")
    parser.add_argument("--trace", action="store_true", help="with --seed: every step of it")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), metavar="NAME", help="with this bug planted")
    parser.add_argument("--mutants", action="store_true", help="plant each bug and look for a seed that shows it")
    parser.add_argument("--list", action="store_true", help="name the bugs")
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args()


def tell_progress(outcome):
    found = "".join(f"; seed {seed}: {what[:200]}" for seed, what in outcome.violations)
    print(f"… {outcome.schedules} schedules of one job, {len(outcome.violations)} violations{found}", flush=True)


def tell_outcome(outcome, seconds):
    events = sorted(outcome.coverage.items())
    for title, chosen in (("faults", [e for e in events if e[0].startswith("fault_")]), ("calls", [e for e in events if e[0].startswith("call_")]),
                          ("events", [e for e in events if not e[0].startswith(("fault_", "call_"))])):
        print(f"{title}: " + ", ".join(f"{name.removeprefix('fault_').removeprefix('call_')} {count}" for name, count in chosen))
    for seed, what in outcome.violations:
        print(f"VIOLATION seed {seed}: {what}")
    print(f"{outcome.schedules} schedules, {outcome.calls} calls, {seconds:.1f} s, {len(outcome.violations)} violations")


def trace(suite, options):
    lines, violation = trace_seed(suite.database(options.mutant), options.seed, options.mutant, options.theme)
    if options.trace:
        print("\n".join(lines))
    print(f"VIOLATION {violation}" if violation else "no violation")
    return violation is not None


def kill_all(suite, options):
    first, last = map(int, options.seeds.split("-"))
    alive = 0
    for name in MUTANTS:
        clock = Clock()
        found = suite.kill(name, range(first, last + 1))
        alive += found is None
        print(f"{name}: {'ALIVE' if found is None else found} ({clock.seconds():.1f} s)", flush=True)
    return alive > 0


def main():
    options = arguments()
    if options.list:
        for name, mutant in MUTANTS.items():
            print(f"{name}: {mutant.what}")
        return 0
    with Suite() as suite:
        if options.seed is not None:
            return trace(suite, options)
        if options.mutants:
            return kill_all(suite, options)
        first, last = map(int, options.seeds.split("-"))
        clock = Clock()
        outcome = suite.run(first, last, options.jobs, options.mutant, tell_progress)
        tell_outcome(outcome, clock.seconds())
        return len(outcome.violations) > 0
