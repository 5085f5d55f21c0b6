"""A sealed deployment whose keys change while it works."""

import time

from fault.run import fault
from support.seal import Groups


@fault("rotation", "3 keys one after the other: added, made the first, the old one removed, under load", "promises", quick=True, seeds=1, wanted=3, sealed=True)
def rotation(run):
    rotate(run, times=3, every=0)


@fault("show:rotation", "another key every 10 s for 5 minutes under load: nothing is lost, nothing repeated, and all that is on the topics is sealed", "promises", seeds=1, wanted=30,
       sealed=True, load=30)
def long_rotation(run):
    rotate(run, times=30, every=10)


def rotate(run, times, every):
    """`every` seconds another key becomes the first. The one before goes when the groups have read all that it has sealed."""
    arena, groups, slowest = run.arena, Groups(run.arena), 0
    next_at = time.monotonic()
    for _ in range(times):
        begin = time.monotonic()
        arena.keys.rotate([*arena.orchestrators, *arena.workers], groups.wait_until_passed)
        slowest = max(slowest, time.monotonic() - begin)
        run.clear(repeats=False)
        run.hit()
        run.flow(10)
        next_at += every
        run.sleep(max(0, next_at - time.monotonic()))
    check(run, slowest)


def check(run, slowest):
    arena = run.arena
    run.stop_load()
    run.settle()
    arena.records += arena.reader.read()
    counts = arena.reader.counts
    run.note(f"{len(arena.keys.ever)} keys, {sum(counts.values())} records on the topics, {counts['plaintext']} plaintext, {counts['strange']} under no key; a rotation took at most {slowest:.1f} s")
    run.demand(counts["strange"] == 0, "sealed", f"{counts['strange']} records are under no key that ever was")
    dead = arena.ask("select count(*) from kser.dead_letters")
    run.demand(dead == 0, "sealed", f"{dead} records could not be opened")
    secrets = [key for key in arena.keys.ever for process in arena.processes.started if key[:20] in process.text()]
    run.demand(not secrets, "sealed", "a log shows a part of a key")
