"""The state machine through thousands of random schedules with faults, and each bug planted found (docs/simulation.md)."""

import os

import pytest

from simulation.mutants import MUTANTS
from simulation.scenarios import SCENARIOS
from simulation.suite import Suite

SCHEDULES = int(os.environ.get("KSER_SIMULATION_SCHEDULES", "2000"))
MUTANT_SEEDS = range(1, 601)

# What must have happened at least once, or the schedules prove less than they seem to.
EVENTS = (
    "plain_won", "plain_left", "twins_compared", "verdict_won", "verdict_repeated", "verdict_late", "verdict_stale", "verdict_unknown", "verdict_ahead", "halted", "re_emission", "re_emission_two_epochs_later",
    "lost", "lost_before_it_was_sent", "expired", "expired_past_its_limit", "told_to_stop", "claimed_before_the_start", "joined", "overdue", "stop_published",
    "stopped_running", "stopped_waiting", "ended_in_silence", "started_too_late", "release_unstarted", "release_stopped", "release_of_anothers", "spare_told",
    "keeper_takes_over", "instance_removed", "round_finished", "round_broken_off", "too_old_to_send", "admitted_and_not_sent", "plan", "failure", "repeat_explained",
    "unknown_outcome_of_apply", "unknown_outcome_of_admit", "unknown_outcome_of_note", "drain", "worker_dropped_other_generation",
    "pause_paused", "resume_resumed", "cancel_asked", "cancel_withdrawn", "retry_retried", "retry_refused", "fault_restore_told_late",
    "fault_crash_orchestrator", "fault_stall_orchestrator", "fault_crash_worker", "fault_freeze_worker", "fault_cut_off_worker", "fault_rebalance", "fault_drain_worker",
    "fault_cut_off_lane", "fault_lose_record", "fault_lose_claim", "fault_repeat_record", "fault_forge_reply", "fault_broker_away", "fault_new_generation",
    "fault_restore", "fault_restore_told", "fault_restore_noticed", "fault_stranger_commits", "fault_reset_back", "fault_retention", "fault_make_topic_anew",
    "fault_leave_orchestrator", "fault_stale_hint", "fault_foreign_epoch",
)


@pytest.fixture(scope="module")
def suite():
    with Suite() as suite:
        yield suite


@pytest.fixture(scope="module")
def outcome(suite):
    return suite.run(1, SCHEDULES, jobs=2)


def test_no_schedule_breaks_a_promise(outcome):
    assert outcome.schedules == SCHEDULES
    assert not outcome.violations, "\n".join(f"tests/simulation/run --seed {seed} --trace: {what}" for seed, what in outcome.violations)


def test_everything_has_happened(outcome):
    assert not [event for event in EVENTS if not outcome.coverage[event]]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_interleavings(suite, scenario):
    database = suite.database()
    assert scenario(database) is None
    database.drop()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found(suite, name):
    assert suite.kill(name, MUTANT_SEEDS), f"nothing shows that {MUTANTS[name].what}"
