"""S4: what the rate is with much that waits, much that has ended, or a snapshot that somebody keeps open."""

import statistics
import time
from dataclasses import dataclass, replace

from kser_bench.fill import fill_due, fill_history, fill_waiting
from kser_bench.figures import say, spread
from kser_bench.rounds import STEPS, cpu_of, per_step, run_round


@dataclass
class Sizes:
    operations: int  # of a round
    rounds: int  # for each size
    waiting: tuple  # operations
    due: int  # operations
    due_seconds: int
    history: tuple  # operations of ten tasks
    pinned_seconds: int


TIDY = "vacuum"  # of a great table "analyze" reads so much that the rows of the round are no longer in the server's buffers

FULL = Sizes(10000, 3, (10_000, 100_000, 1_000_000), 1_000_000, 20, (10_000, 100_000, 1_000_000), 600)
QUICK = Sizes(4000, 2, (100_000,), 60_000, 4, (100_000,), 15)


def chosen(options):
    sizes = QUICK if options.quick else FULL
    return replace(sizes, pinned_seconds=options.pinned or sizes.pinned_seconds)


def flatness(stand, sizes):
    """Rounds with nothing else come before and after each kind, so that all of them meet the same weather."""
    plain = plain_rounds(stand, sizes)
    waiting = grown(stand, sizes, "waiting", fill_waiting, sizes.waiting)
    plain += plain_rounds(stand, sizes)
    due = due_round(stand, sizes)
    history = grown(stand, sizes, "history", fill_history, sizes.history)
    plain += plain_rounds(stand, sizes)
    pinned = pinned_rounds(stand, sizes)
    plain += plain_rounds(stand, sizes)
    rate = statistics.median(one["rate"] for one in plain)
    return {**spread("S4.plain_steps_per_s", [one["rate"] for one in plain], 0), **spread("S4.plain_cpu_us_per_step", [cpu_of(one) for one in plain], 1), "S4.plain_postgres_us_per_step": of_server(plain),
            **compared("waiting", waiting, rate), **compared("history", {size * STEPS: rounds for size, rounds in history.items()}, rate),
            **compared("due", due, rate), **compared("pinned", pinned, rate, last=len(pinned) // 3 or 1)}


def plain_rounds(stand, sizes):
    stand.clear()
    stand.rows("update kser.queues set backlog_max = default")
    rounds = [run_round(stand, sizes.operations, TIDY) for _ in range(sizes.rounds)]
    tell("nothing else", rounds)
    return rounds


def grown(stand, sizes, name, fill, numbers):
    """{size: rounds} for rising sizes of what `fill` puts into the tables."""
    stand.clear()
    found, reached = {}, 0
    for number in numbers:
        fill(stand, reached, number)
        reached = number
        found[number] = [run_round(stand, sizes.operations, TIDY) for _ in range(sizes.rounds)]
        tell(f"{name}, {number:,} operations", found[number])
    return found


def due_round(stand, sizes):
    """All that waits is due and behind the window: the rate over some seconds of working it off, two seconds after the start."""
    stand.clear()
    stand.stop_orchestrators()
    fill_due(stand, sizes.due)
    stand.start_orchestrators()
    time.sleep(2)
    before, began = stand.counts(), stand.value("select clock_timestamp()")
    time.sleep(sizes.due_seconds)
    used, ended = stand.cpu(), stand.value("select clock_timestamp()")
    after = stand.counts()
    stand.stop_orchestrators()
    assert stand.rows("select 1 from kser.ready limit 1"), "nothing waits any more: there were too few operations"
    steps = stand.value("select count(*) from kser.tasks where finished_at >= %s and finished_at < %s and status = 'SUCCESS'", began, ended)
    stand.clear()
    stand.start_orchestrators()
    one = {"rate": round(steps / (ended - began).total_seconds()), **per_step(before, after, used, max(1, steps))}
    tell(f"{sizes.due:,} operations due", [one])
    return {sizes.due: [one]}


def pinned_rounds(stand, sizes):
    """{second: [round]} while a snapshot from before the first of them is kept: what they leave behind cannot be cleaned up."""
    stand.clear()
    holder = stand.database.connect(autocommit=False)
    found = {}
    with holder.cursor() as cursor:
        cursor.execute("set transaction isolation level repeatable read")
        cursor.execute("select 1")
        began = time.monotonic()
        while time.monotonic() - began < sizes.pinned_seconds or len(found) < 2:
            one = run_round(stand, sizes.operations, tidy=None)
            found[round(time.monotonic() - began)] = [one]
            tell(f"snapshot pinned for {time.monotonic() - began:.0f} s", [one])
    holder.close()
    return found


def compared(name, found, plain, last=1):
    """Figures by size; the ratio is that of the `last` greatest sizes to the rate with nothing else."""
    rates = {str(size): round(statistics.median(one["rate"] for one in rounds)) for size, rounds in found.items()}
    cpus = {str(size): round(statistics.median(cpu_of(one) for one in rounds), 1) for size, rounds in found.items()}
    return {f"S4.{name}_ratio": round(statistics.median(list(rates.values())[-last:]) / plain, 3), f"S4.{name}_steps_per_s": rates, f"S4.{name}_cpu_us_per_step": cpus,
            f"S4.{name}_postgres_us_per_step": {str(size): of_server(rounds) for size, rounds in found.items()}}


def of_server(rounds):
    """The database's part of the CPU; 0 of a server that was given."""
    return round(statistics.median(one["cpu"].get("postgres", 0) for one in rounds), 1)


def tell(what, rounds):
    say(f"S4: {what}: " + ", ".join(f"{one['rate']:,} steps/s at {cpu_of(one):.1f} µs, {of_server([one])} of them of the server" for one in rounds))
