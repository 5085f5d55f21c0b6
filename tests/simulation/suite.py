"""Runs many schedules, in several processes with a database each, and adds up what they saw."""

import multiprocessing
import time
from collections import Counter

from simulation.database import Session, install, install_mutant, start_server
from simulation.mutants import MUTANTS
from simulation.schedule import Schedule
from simulation.world import Violation

EMPTY_EVERY = 40
VACUUM_EVERY = 100


class Outcome:
    """What a range of seeds has shown."""

    def __init__(self):
        self.schedules = self.calls = 0
        self.coverage = Counter()
        self.violations = []  # (seed, what)

    def add(self, other):
        self.schedules += other.schedules
        self.calls += other.calls
        self.coverage.update(other.coverage)
        self.violations += other.violations


def run_seeds(database, seeds, mutant=None, stop_at_first=False, told=None, theme=None):
    outcome = Outcome()
    session = Session(database)
    switches = MUTANTS[mutant].switches if mutant else ()
    for number, seed in enumerate(seeds):
        schedule = Schedule(session, seed, switches, theme)
        try:
            schedule.run()
        except Violation as violation:
            outcome.violations.append((seed, str(violation)))
        outcome.schedules += 1
        outcome.calls += session.number
        outcome.coverage.update(schedule.world.coverage)
        if outcome.violations and stop_at_first:
            break
        if number % EMPTY_EVERY == EMPTY_EVERY - 1:
            session.empty()
        if number % VACUUM_EVERY == VACUUM_EVERY - 1:
            session.cursor.execute("vacuum")
        if told and number % 1000 == 999:
            told(outcome)
    session.close()
    return outcome


def trace_seed(database, seed, mutant=None, theme=None):
    """The lines of one schedule, and its violation or None."""
    session = Session(database)
    schedule = Schedule(session, seed, MUTANTS[mutant].switches if mutant else (), theme, trace=True)
    try:
        schedule.run()
        return schedule.world.trace, None
    except Violation as violation:
        return schedule.world.trace, str(violation)
    finally:
        session.close()


class Suite:
    """A server, a database to copy from."""

    def __enter__(self):
        self.server = start_server()
        try:
            self.template = self.server.create()
            install(self.template)
        except BaseException:
            self.server.remove()
            raise
        return self

    def __exit__(self, *_):
        self.server.remove()

    def database(self, mutant=None):
        database = self.server.create(self.template.name)
        if mutant and MUTANTS[mutant].patches:
            install_mutant(database, MUTANTS[mutant].patches)
        return database

    def run(self, first, last, jobs=1, mutant=None, told=None):
        """Seeds first … last, each job a part of them; the outcome of all."""
        parts = [range(first + job, last + 1, jobs) for job in range(jobs)]
        databases = [self.database(mutant) for _ in parts]
        total = Outcome()
        with multiprocessing.get_context("fork").Pool(jobs) as pool:
            for outcome in pool.starmap(run_seeds, [(str(database), part, mutant, False, told) for database, part in zip(databases, parts)], chunksize=1):
                total.add(outcome)
        for database in databases:
            database.drop()
        return total

    def kill(self, name, seeds):
        """What shows a mutant and is not so without it, as text; None: it lives."""
        mutant = MUTANTS[name]
        if mutant.scenario:
            problem = self.with_database(name, lambda database: mutant.scenario(database, mutant.switches))
            return problem and f"scenario {mutant.scenario.__name__}: {problem}"
        violations = self.with_database(name, lambda database: run_seeds(database, seeds, name, stop_at_first=True, theme=mutant.theme)).violations
        if not violations:
            return None
        (seed, what), = violations
        blameless = self.with_database(None, lambda database: run_seeds(database, [seed], theme=mutant.theme)).violations
        assert not blameless, f"seed {seed} of theme {mutant.theme} is wrong without any bug planted: {blameless[0][1]}"
        return f"seed {seed}: {what}"

    def with_database(self, mutant, act):
        database = self.database(mutant)
        try:
            return act(database)
        finally:
            database.drop()


class Clock:
    def __init__(self):
        self.begin = time.monotonic()

    def seconds(self):
        return time.monotonic() - self.begin
