"""Policies: what they say about tries, and what is refused of them."""

import json

import pytest


def delay(engine, policy, failures=1, temporary=False, spent="0", retcode=1, error=None):
    return engine.value("select extract(epoch from kser.retry_delay(%s::json, %s, %s, %s, %s, %s))", json.dumps({"delay": "10s", "jitter": 0, **policy}), failures, temporary, spent, retcode, error)


@pytest.mark.parametrize("policy, failure, expected", [
    ({"max_attempts": 0, "budget": "1h"}, {"failures": 30000}, 60), ({"max_attempts": 0, "budget": "1h"}, {"spent": "59m 49s"}, 10),
    ({"max_attempts": 0, "budget": "1h"}, {"spent": "59m 51s"}, None), ({"max_attempts": 2, "budget": "15s"}, {}, 10), ({"max_attempts": 2, "budget": "5s"}, {}, None),
    ({"max_attempts": 5, "no_retry_on": [4, "Bad"]}, {"retcode": 3}, 10), ({"max_attempts": 5, "no_retry_on": [4, "Bad"]}, {"retcode": 4}, None),
    ({"max_attempts": 5, "no_retry_on": [4, "Bad"]}, {"error": "Bad"}, None), ({"max_attempts": 5, "no_retry_on": [4, "Bad"]}, {"error": "Ba"}, 10),
    ({"max_attempts": 5, "no_retry_on": ["4"]}, {"retcode": 4}, 10), ({"no_retry_on": [4]}, {"retcode": 4, "temporary": True}, None),
    ({"budget": "1s"}, {"temporary": True}, None), ({"max_attempts": 0, "budget": "1m"}, {"temporary": True, "failures": 9}, 60)], ids=str)
def test_whether_and_when_it_is_tried_again(engine, policy, failure, expected):
    assert delay(engine, policy, **failure) == expected


def test_the_budget_counts_from_the_first_attempt_that_did_not_succeed(engine, running):
    operation, dispatch = running(1, policy={"max_attempts": 0, "budget": "1h", "delay": "1s"})
    started = engine.tasks(operation)[0]["dispatched_at"]
    for answer in (1, 2):
        engine.apply(engine.result(dispatch, answer, retcode=1))
        assert engine.tasks(operation)[0]["tries_since"] == started
        engine.rows("update kser.ready set due_at = now()")
        dispatch, = engine.admit()
    engine.rows("update kser.tasks set tries_since = tries_since - interval '1 h'")
    engine.apply(engine.result(dispatch, 3, retcode=1))
    assert engine.operation(operation)["status"] == "FAILED"


def test_a_lost_worker_begins_the_budget_and_takes_no_try(engine, running):
    operation, dispatch = running(1, policy={"max_attempts": 2, "delay": 0})
    started = engine.tasks(operation)[0]["dispatched_at"]
    engine.hold("w1", dispatch)
    engine.rows("update kser.claims set renewed_at = renewed_at - interval '9 s'")
    engine.expire()
    assert engine.tasks(operation)[0]["tries_since"] == started
    engine.apply(engine.result(engine.admit()[0], 1, retcode=1))
    assert engine.statuses(operation) == ["PENDING"], "the second try is left"


def test_no_retry_on_ends_it_at_once(engine, running):
    operation, dispatch = running(1, policy={"max_attempts": 5, "no_retry_on": ["ValidationError"]})
    engine.apply(engine.result(dispatch, 1, retcode=400, error="ValidationError"))
    assert engine.operation(operation)["status"] == "FAILED"


def test_failures_do_not_overflow(engine, running):
    operation, dispatch = running(1, policy={"max_attempts": 0, "budget": "1h", "delay": 0})
    engine.rows("update kser.tasks set failures = 32767")
    assert engine.apply(engine.result(dispatch, 1, retcode=1))[0]["verdict"] == "won"
    assert engine.statuses(operation) == ["PENDING"]


@pytest.mark.parametrize("policy, flags", [({}, 0), ({"on_silence": "finish"}, 0), ({"on_silence": "stop"}, 4)], ids=str)
@pytest.mark.parametrize("crashes, careful", [(None, 0), (1, 1), (2, 3), (7, 3)])
def test_flags(engine, policy, flags, crashes, careful):
    assert engine.value("select kser.dispatch_flags(%s, %s)", crashes, json.dumps(policy)) == flags + careful
    assert engine.value("select kser.dispatch_flags(%s, null)", crashes) == careful


def test_dispatches_say_how_they_are_to_be_run(engine, running):
    policy = {"on_silence": "stop", "start_within": "1m"}
    _, dispatch = running([{"entrypoint": "a"}, {"entrypoint": "b", "policy": {"start_within": "2m"}}, {"entrypoint": "c"}], policy=policy)
    second, = engine.apply(engine.result(dispatch, 1))
    again, = engine.apply(engine.result(dispatch, 1))
    assert [d["flags"] for d in (dispatch, second, again)] == [4, 4, 4]
    dispatched = engine.value("select kser.unix_ms(dispatched_at) from kser.tasks where position = 1")
    assert second["start_by_ms"] == again["start_by_ms"] == dispatched + 120000
    _, plain = running(1)
    assert (plain["flags"], plain["start_by_ms"]) == (0, None)


def test_defaults_by_entrypoint(engine):
    engine.rows("insert into kser.policies (entrypoint, policy) values ('a', '{\"timeout\": \"9s\", \"delay\": \"1s\", \"max_attempts\": 3}'), ('b', '{\"jitter\": 0}'), ('p', '{\"delay\": \"7s\"}')")
    operation = engine.submit("x", [{"entrypoint": "a", "policy": {"delay": "2s"}}, {"entrypoint": "b"}, {"entrypoint": "c"}], policy={"max_attempts": 2})
    assert [t["policy"] for t in engine.tasks(operation)] == [{"timeout": "9s", "delay": "2s", "max_attempts": 2}, {"jitter": 0, "max_attempts": 2}, {"max_attempts": 2}]
    dispatch, = engine.admit()
    engine.apply(engine.result(dispatch, 1, plan=[{"entrypoint": "p"}, {"entrypoint": "p", "policy": {"delay": "1s"}}]))
    assert [t["policy"] for t in engine.tasks(operation)[1:3]] == [{"delay": "7s", "max_attempts": 2}, {"delay": "1s", "max_attempts": 2}]
    alone = engine.submit("a")
    assert engine.tasks(alone)[0]["policy"]["timeout"] == "9s" and engine.tasks(engine.submit("z"))[0]["policy"] is None


@pytest.mark.parametrize("defaults, options, place", [
    ({}, {"policy": {"max_attempts": 0}, "tasks": 2}, "tasks[0]"), ({"step1": {"max_attempts": 0}}, {"tasks": 2}, "tasks[1]"),
    ({"step0": {"budget": "1m"}}, {"policy": {"max_attempts": 0}, "tasks": 2}, "tasks[1]"), ({}, {"policy": {"max_attempts": 0}, "tasks": 2, "deadline": "1h"}, None),
    ({}, {"policy": {"max_attempts": 0, "budget": "1h"}, "tasks": 2}, None), ({"step0": {"max_attempts": 0}}, {"policy": {"max_attempts": 4}, "tasks": 2}, None)], ids=str)
def test_tries_without_an_end_are_refused(engine, defaults, options, place):
    for entrypoint, policy in defaults.items():
        engine.rows("insert into kser.policies (entrypoint, policy) values (%s, %s)", entrypoint, json.dumps(policy))
    if place is None:
        engine.submit("x", **options)
        return
    with pytest.raises(Exception, match="needs a budget or a deadline") as refused:
        engine.submit("x", **options)
    assert refused.value.pgcode == "22023" and str(refused.value).startswith(place + ".policy.max_attempts: 0 (no limit)")
    assert engine.value("select count(*) from kser.operations") == 0


def test_a_plan_with_tries_without_an_end_fails_its_task(engine, running):
    operation, dispatch = running(1)
    engine.apply(engine.result(dispatch, 1, plan=[{"entrypoint": "a"}, {"entrypoint": "b", "policy": {"max_attempts": 0}}]))
    task, = engine.tasks(operation)
    assert task["status"] == "FAILED" and "tasks[1].policy.max_attempts: 0 (no limit) needs a budget" in task["stderr"]


@pytest.mark.parametrize("policy, problem", [
    ({"max_attempts": -1}, ".max_attempts: must be an integer from 1 to 1000, or 0 for no limit"), ({"max_attempts": 1001}, ".max_attempts: must be an integer from 1 to 1000"),
    ({"budget": -1}, ".budget: is outside of 0 to 315360000 seconds"), ({"budget": "-1s"}, ".budget: is not a duration"), ({"budget": 0}, ".budget: must be at least"),
    ({"start_within": "soon"}, ".start_within: is not a duration"), ({"start_within": "-5s"}, ".start_within: is not a duration"), ({"start_within": -5}, ".start_within: is outside"),
    ({"start_within": None}, None), ({"on_silence": "maybe"}, ".on_silence: must be finish or stop"), ({"on_silence": 1}, ".on_silence: must be finish or stop"),
    ({"no_retry_on": 4}, ".no_retry_on: must be an array of at most 100"), ({"no_retry_on": [1] * 101}, ".no_retry_on: must be an array of at most 100"), ({"no_retry_on": [1] * 100}, None),
    ({"no_retry_on": [1.5]}, ".no_retry_on: must have retcodes"), ({"no_retry_on": [None]}, ".no_retry_on: must have"), ({"no_retry_on": [""]}, ".no_retry_on: must have"),
    ({"no_retry_on": ["x" * 256]}, ".no_retry_on: must have"), ({"no_retry_on": [-9, "x"]}, None), ({"timeout": -1}, ".timeout: is outside"), ({"delay": "-1s"}, ".delay: is not a duration"),
    ({"tries": 1}, ': unknown key "tries"; known are max_attempts, budget, no_retry_on')], ids=str)
def test_what_is_refused(engine, policy, problem):
    text = engine.value("select kser.policy_problem(%s, 'policy')", json.dumps(policy))
    assert text is None if problem is None else text.startswith("policy" + problem)
