"""Runs faults and prints the table: scripts/faults."""

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from fault import report
from fault.arena import Servers
from fault.run import FAULTS, Suite
from fault.table import load_faults

ROOT = Path(__file__).resolve().parents[2]


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/faults", description="Breaks kser on real servers and has an oracle outside of it check what became of it.")
    parser.add_argument("--quick", action="store_true", help="each crash point once and the most telling of the others, in about ten minutes")
    parser.add_argument("--only", metavar="NAME,…", help="these faults; a name that ends with * stands for all that begin so")
    parser.add_argument("--seeds", type=int, metavar="N", help="how often each fault is tried, with other random choices (as the table says)")
    parser.add_argument("--first-seed", type=int, default=0, metavar="S", help="the first of them (%(default)s)")
    parser.add_argument("--sealed", action="store_true", help="messages are sealed, and none may be plaintext; not for the group of inputs, which writes plaintext")
    parser.add_argument("--list", action="store_true", help="name the faults and end")
    parser.add_argument("--sides", type=int, default=2, metavar="N", help="so many faults side by side, each on servers of its own; most of the time they wait (%(default)s)")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there as well (default: build/log/faults.md)")
    parser.add_argument("--logs", metavar="DIR", help="where programs log (default: a new directory)")
    return parser.parse_args()


def chosen(options):
    if options.only:
        patterns = options.only.split(",")
        wanted = [fault for fault in FAULTS.values() if any(fault.name == p or p.endswith("*") and fault.name.startswith(p[:-1]) for p in patterns)]
        if not wanted:
            sys.exit(f"no fault is named {options.only}; --list names them")
        return wanted
    return [fault for fault in FAULTS.values() if fault.quick or not options.quick]


def plan(faults, options):
    """The (fault name, seed) pairs to run."""
    pairs = []
    for fault in faults:
        seeds = options.seeds or (1 if options.quick or options.only else fault.seeds)
        pairs += [(fault.name, seed) for seed in range(options.first_seed, options.first_seed + seeds)]
    return pairs


def work(number, wanted, done, binaries, logs, sealed):
    """One of the processes that run faults side by side, on servers of its own: takes names from `wanted`, gives outcomes to `done`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    servers = Servers()
    suite = Suite(servers, binaries, logs / f"side-{number}", sealed=sealed)
    try:
        while (pair := wanted.get()) is not None:
            name, seed = pair
            outcome = suite.run(FAULTS[name], seed)
            outcome.fault = name  # its functions cannot be sent
            done.put(outcome)
        suite.drop_arena()
    except BaseException:
        suite.drop_arena()
        done.put(traceback.format_exc())
        raise
    finally:
        servers.remove()
    done.put(None)


def run_all(pairs, sides, binaries, logs, sealed):
    """The outcomes, in the order of `pairs`."""
    wanted, done = multiprocessing.Queue(), multiprocessing.Queue()
    # Those that take long come first, so that no side is left alone with one in the end.
    for pair in [*sorted(pairs, key=lambda pair: -FAULTS[pair[0]].settle), *[None] * sides]:
        wanted.put(pair)
    processes = [multiprocessing.Process(target=work, args=(number, wanted, done, binaries, logs, sealed)) for number in range(sides)]
    for process in processes:
        process.start()
    outcomes, left, broken = [], sides, []
    try:
        while left:
            outcome = done.get()
            if isinstance(outcome, str):
                broken.append(outcome)
                print(outcome, flush=True)
            if outcome is None or isinstance(outcome, str):
                left -= 1
                continue
            outcome.fault = FAULTS[outcome.fault]
            outcomes.append(outcome)
            tell(outcome)
    except KeyboardInterrupt:  # the processes got it as well, and clean up
        print("interrupted", flush=True)
    for process in processes:
        process.join()
    order = {pair: number for number, pair in enumerate(pairs)}
    return sorted(outcomes, key=lambda outcome: order[outcome.fault.name, outcome.seed]), broken


def tell(outcome):
    if outcome.skipped:
        print(f"{outcome.fault.name}: not done: {outcome.skipped}", flush=True)
        return
    verdict = "FAILED" if outcome.failed else "ok"
    print(f"{verdict:6} {outcome.fault.name} seed {outcome.seed}: hit {outcome.hits}, {outcome.operations} operations, {outcome.executions} executions, "
          f"{outcome.repeated} repeated, recovery {outcome.recovery:.1f} s, {outcome.memory} MB, {outcome.seconds:.0f} s"
          + "".join(f"; {note}" for note in outcome.notes), flush=True)
    for line in report.problems([outcome]):
        print("    " + line, flush=True)


def main():
    options = parse_arguments()
    load_faults()
    if options.list:
        for fault in FAULTS.values():
            print(f"{fault.name:42} {'quick' if fault.quick else '     '}  {fault.what}")
        return 0
    binaries = Path(os.environ.get("KSER_BIN") or ROOT / "build" / "dev" / "bin").resolve()
    logs = Path(options.logs or tempfile.mkdtemp(prefix="kser-faults-"))
    began = time.monotonic()
    pairs = plan(chosen(options), options)
    outcomes, broken = run_all(pairs, min(options.sides, len(pairs)), binaries, logs, options.sealed)
    page = Path(options.markdown or ROOT / "build" / "log" / "faults.md")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(report.as_markdown(outcomes))
    return conclude(outcomes, page, logs, time.monotonic() - began) or len(broken) > 0 or len(outcomes) < len(pairs)


def conclude(outcomes, page, logs, seconds):
    print("\n" + report.as_text(outcomes))
    failed = [outcome for outcome in outcomes if outcome.failed]
    for line in report.problems(failed):
        print(line)
    print(f"\n{len(outcomes)} runs in {seconds / 60:.0f} minutes, {sum(o.operations for o in outcomes)} operations, "
          f"{sum(len(o.violations) for o in outcomes)} violations, {len(failed)} failed; {page}")
    if failed:
        print(f"logs of what failed: {logs}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
