"""cancel, pause, resume, retry: what each does from every state, and in races with results, admissions and each other."""

import json
import threading

import psycopg2
import psycopg2.errors
import pytest

from support.waiting import wait_until

NOBODY = "01890000-0000-7000-8000-000000000000"
LOCKED = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


class Play:
    """One operation of two tasks in each of its states."""

    def __init__(self, engine):
        self.engine = engine
        self.answers = 0

    def submit(self, **options):
        return self.engine.submit("x", [{"entrypoint": "a"}, {"entrypoint": "b"}], **options)

    def dispatch(self, operation):
        return next(d for d in self.engine.admit() if d["operation_id"] == operation)

    def result(self, dispatch, **others):
        self.answers += 1
        return self.engine.apply(self.engine.result(dispatch, self.answers, **others))[0]

    def claim(self, operation, position=0, worker="w1"):
        self.engine.rows("insert into kser.claims (operation_id, position, uuid, attempt, worker, claimed_at, renewed_at)"
                         " select operation_id, position, uuid, attempt, %s, now(), now() from kser.tasks where operation_id = %s and position = %s", worker, operation, position)

    def pending(self):
        return self.submit()

    def later(self):
        return self.submit(start_at="2999-01-01")

    def waiting(self):
        operation = self.submit(policy={"max_attempts": 3, "delay": "1h"})
        self.result(self.dispatch(operation), retcode=1)
        return operation

    def other_queue(self):
        operation = self.engine.submit("x", [{"entrypoint": "a"}, {"entrypoint": "b", "queue": "gpu"}])
        self.result(self.dispatch(operation))
        return operation

    def running(self):
        operation = self.submit()
        self.dispatch(operation)
        return operation

    def second(self):
        operation = self.submit()
        self.result(self.dispatch(operation))
        return operation

    def claimed(self):
        operation = self.running()
        self.claim(operation)
        return operation

    def stopping(self):
        operation = self.running()
        self.engine.value("select kser.cancel(%s)", operation)
        return operation

    def unended(self):
        """All its tasks have succeeded, and it has not ended: only by hand does it come to that."""
        operation = self.success()
        self.engine.rows("update kser.operations set status = 'RUNNING', finished_at = null, retcode = null where id = %s", operation)
        return operation

    def held(self):
        operation = self.pending()
        self.engine.value("select kser.pause(%s)", operation)
        return operation

    def held_running(self):
        operation = self.running()
        self.engine.value("select kser.pause(%s)", operation)
        return operation

    def held_between(self):
        operation = self.submit()
        dispatch = self.dispatch(operation)
        self.engine.value("select kser.pause(%s)", operation)
        self.result(dispatch)
        return operation

    def success(self):
        operation = self.second()
        self.engine.apply(self.engine.result(self.dispatch_of(operation, 1), 900))
        return operation

    def failed(self):
        operation = self.submit()
        self.result(self.dispatch(operation), retcode=7, error="Broken")
        return operation

    def cancelled(self):
        operation = self.pending()
        self.engine.value("select kser.cancel(%s)", operation)
        return operation

    def dispatch_of(self, operation, position):
        """The dispatch that a task's row tells of."""
        return self.engine.rows("select k.uuid, k.operation_id, k.position, k.attempt, k.epoch, k.partition, (select generation from kser.meta) as generation"
                                " from kser.tasks k where operation_id = %s and position = %s", operation, position)[0]


@pytest.fixture
def play(engine):
    return Play(engine)


def verb(engine, name, operation, *more):
    """The answer, or 'refused' and the database's words."""
    try:
        return engine.value(f"select kser.{name}(%s{', %s' * len(more)})", operation, *more)
    except psycopg2.errors.ObjectNotInPrerequisiteState as refused:
        return "refused", str(refused).splitlines()[0]


# The table of docs/verbs.md.
ANSWERS = {
    "pending": ("withdrawn", "paused", "resumed", "refused"),
    "later": ("withdrawn", "paused", "resumed", "refused"),
    "waiting": ("withdrawn", "paused", "resumed", "refused"),
    "other_queue": ("withdrawn", "paused", "resumed", "refused"),
    "running": ("asked", "paused", "resumed", "refused"),
    "second": ("asked", "paused", "resumed", "refused"),
    "claimed": ("asked", "paused", "resumed", "refused"),
    "stopping": ("asked", "refused", "refused", "refused"),
    "held": ("withdrawn", "paused", "resumed", "refused"),
    "held_running": ("asked", "paused", "resumed", "refused"),
    "held_between": ("withdrawn", "paused", "resumed", "refused"),
    "unended": ("withdrawn", "refused", "resumed", "refused"),
    "success": ("refused", "refused", "refused", "refused"),
    "failed": ("refused", "refused", "refused", "retried"),
    "cancelled": ("withdrawn", "refused", "refused", "retried"),
}


@pytest.mark.parametrize("state", ANSWERS)
@pytest.mark.parametrize("name, place", [("cancel", 0), ("pause", 1), ("resume", 2), ("retry", 3)], ids=["cancel", "pause", "resume", "retry"])
def test_each_verb_from_each_state(engine, play, state, name, place):
    operation = getattr(play, state)()
    before = engine.value("select count(*) from kser.history")
    tables = [engine.rows(f"select * from kser.{t} order by 1, 2") for t in ("operations", "tasks", "ready", "stops")]
    answer = verb(engine, name, operation, "why")
    if ANSWERS[state][place] == "refused":
        assert answer[0] == "refused" and str(operation) in answer[1], answer
        assert [engine.rows(f"select * from kser.{t} order by 1, 2") for t in ("operations", "tasks", "ready", "stops")] == tables
        assert engine.value("select count(*) from kser.history") == before
        return
    assert answer == ANSWERS[state][place]
    changed = engine.operation(operation) != tables[0][0] or engine.value("select count(*) from kser.stops") != len(tables[3])
    noted = engine.rows("select * from kser.history where id > %s order by id", engine.value("select coalesce(max(id), 0) from kser.history") - (1 if changed else 0))
    assert len(noted) == changed
    for row in noted:
        assert (row["kind"], row["operation_id"], row["reason"], row["actor"]) == (name, operation, "why", "postgres")
    # And once more: the same answer, and nothing changes, but for a retry of what runs again.
    tables = [engine.rows(f"select * from kser.{t} order by 1, 2") for t in ("operations", "tasks", "ready", "stops")]
    again = verb(engine, name, operation, "why again")
    assert again == answer or (name == "retry" or (state, name) == ("unended", "resume")) and again[0] == "refused"
    assert [engine.rows(f"select * from kser.{t} order by 1, 2") for t in ("operations", "tasks", "ready", "stops")] == tables


@pytest.mark.parametrize("name, ended", [("cancel", ("FAILED", 499, "Cancelled", "cancelled by postgres: why")), ("resume", ("SUCCESS", 0, None, "last"))])
def test_one_with_no_task_to_go_on_with_is_ended(engine, play, name, ended):
    operation = play.submit(key="k")
    play.result(play.dispatch(operation), stdout="first")
    play.result(play.dispatch_of(operation, 1), stderr="last", retval={"a": 1})
    engine.rows("update kser.operations set status = 'RUNNING', finished_at = null, held = true")
    engine.rows("insert into kser.keys (key, operation_id, body_hash) values ('k', %s, '')", operation)
    verb(engine, name, operation, "why")
    row = engine.operation(operation)
    assert (row["status"], row["retcode"], row["error"], row["stderr"]) == ended and row["finished_at"]
    assert (row["stdout"], row["retval"]) == ("first", {"a": 1}) and engine.value("select count(*) from kser.keys") == 0


@pytest.mark.parametrize("name", ["cancel", "pause", "resume", "retry"])
def test_what_does_not_exist(engine, play, name):
    with pytest.raises(psycopg2.errors.NoDataFound, match=NOBODY):
        engine.value(f"select kser.{name}(%s)", NOBODY)
    with pytest.raises(psycopg2.errors.NullValueNotAllowed, match="operation: is null"):
        engine.value(f"select kser.{name}(null)")
    there = play.pending()
    rows = {str(r["operation_id"]): r["answer"] for r in engine.rows(f"select * from kser.{name}_many(%s::uuid[])", [NOBODY, there, there, None])}
    assert rows == {NOBODY: "missing", str(there): {"cancel": "withdrawn", "pause": "paused", "resume": "resumed", "retry": "refused"}[name]}


@pytest.mark.parametrize("name", ["cancel", "pause", "resume", "retry"])
def test_only_read_committed(user, play, name):
    operation = play.pending()
    session = user(autocommit=False)
    session.rows("set transaction isolation level repeatable read")
    with pytest.raises(psycopg2.Error, match="READ COMMITTED"):
        session.value(f"select kser.{name}(%s)", operation)


# --- Cancel


@pytest.mark.parametrize("state", ["pending", "later", "waiting", "other_queue", "held", "held_between"])
def test_what_waits_is_withdrawn(engine, play, state):
    operation = getattr(play, state)()
    attempts = [t["attempt"] for t in engine.tasks(operation)]
    engine.value("select kser.cancel(%s, 'enough')", operation)
    row = engine.operation(operation)
    assert (row["status"], row["error"], row["retcode"], row["stderr"]) == ("FAILED", "Cancelled", 499, "cancelled by postgres: enough") and row["finished_at"]
    failed, = [t for t in engine.tasks(operation) if t["status"] == "FAILED"]
    assert (failed["error"], failed["retcode"]) == ("Cancelled", 499)
    assert [t["attempt"] for t in engine.tasks(operation)] == attempts
    assert engine.value("select count(*) from kser.ready") == 0
    assert engine.admit() == [] and engine.admit(queue="gpu") == []


def test_a_withdrawn_operation_gives_its_key_back(engine, play):
    operation = play.submit(key="k")
    engine.value("select kser.cancel(%s)", operation)
    assert play.submit(key="k") != operation


def test_a_running_task_is_asked_to_stop(engine, play, connect):
    listener = connect()
    listener.cursor().execute("listen kser_ready")
    operation = play.running()
    assert engine.value("select kser.cancel(%s, 'enough')", operation) == "asked"
    stop, = engine.rows("select * from kser.stops")
    task = engine.tasks(operation)[0]
    assert (stop["operation_id"], stop["position"], stop["uuid"], stop["attempt"], stop["error"], stop["retcode"], stop["reason"]) == (
        operation, 0, task["uuid"], 1, "Cancelled", 499, "enough")
    assert (task["status"], task["mark"]) == ("RUNNING", 3) and engine.operation(operation)["status"] == "RUNNING"
    listener.cursor().execute("select 1")
    listener.poll()
    assert listener.notifies


# --- Pause and resume


@pytest.mark.parametrize("state", ["pending", "waiting", "running", "second", "claimed", "other_queue"])
def test_after_pause_nothing_starts_until_resume(engine, play, state):
    operation = getattr(play, state)()
    engine.value("select kser.pause(%s)", operation)
    engine.rows("update kser.ready set due_at = now()")
    assert engine.admit() == [] and engine.admit(queue="gpu") == []
    running = [t["position"] for t in engine.tasks(operation) if t["status"] == "RUNNING"]
    if running:
        assert play.result(play.dispatch_of(operation, running[0]))["uuid"] is None
    assert "RUNNING" not in engine.statuses(operation)
    if engine.operation(operation)["status"] == "SUCCESS":
        return
    engine.value("select kser.resume(%s)", operation)
    assert engine.value("select count(*) from kser.ready") == 1
    engine.rows("update kser.ready set due_at = now()")
    assert len(engine.admit() + engine.admit(queue="gpu")) == 1


def test_a_pause_does_not_shorten_the_wait_of_a_retry(engine, play):
    operation = play.waiting()
    due = engine.value("select due_at from kser.ready")
    engine.value("select kser.pause(%s)", operation)
    assert engine.value("select count(*) from kser.ready") == 0
    engine.value("select kser.resume(%s)", operation)
    assert engine.value("select due_at from kser.ready") == due


def test_an_operation_that_was_paused_keeps_its_start_and_its_place(engine, play):
    later, first, second = play.later(), play.pending(), play.pending()
    for operation in (later, first):
        engine.value("select kser.pause(%s)", operation)
        engine.value("select kser.resume(%s)", operation)
    assert [d["operation_id"] for d in engine.admit(1)] == [first]
    assert [d["operation_id"] for d in engine.admit()] == [second]


def test_resume_brings_what_was_missing(engine, play):
    """Somebody lost the ready row: the operation stands still for ever, without being held."""
    operation = play.pending()
    engine.rows("delete from kser.ready")
    assert engine.value("select kser.resume(%s)", operation) == "resumed"
    assert len(engine.admit()) == 1


def test_the_window_is_what_it_was(engine, play):
    def free():
        return {r["queue"]: r["free"] for r in engine.rows("select queue, free from kser.window_free()")}[""]

    play.running()
    before = free()
    for state in ("waiting", "held_between", "held", "pending", "failed"):
        operation = getattr(play, state)()
        engine.value("select kser.pause_many(array[%s]::uuid[])", operation)
        assert free() == before, state
        engine.value("select kser.cancel_many(array[%s]::uuid[])", operation)
        assert free() == before, state


# --- Retry


def test_retry_runs_from_the_failed_task(engine, play):
    operation = play.submit(policy={"max_attempts": 2, "delay": 0}, metadata={"m": 1})
    play.result(play.dispatch(operation), stdout="one", retval={"n": 1})
    for _ in range(2):
        task = play.dispatch_of(operation, 1)
        play.result(task, retcode=7, error="Broken", stderr="no", retval={"bad": 1})
        engine.admit()
    before, started = engine.tasks(operation), engine.operation(operation)["started_at"]
    assert engine.value("select kser.retry(%s, 'mended')", operation) == "retried"
    row = engine.operation(operation)
    assert (row["status"], row["started_at"], row["finished_at"], row["retcode"], row["error"], row["stdout"], row["stderr"], row["retval"]) == (
        "RUNNING", started, None, None, None, None, None, None)
    first, second = engine.tasks(operation)
    assert first == before[0], "what succeeded is not touched"
    assert (second["status"], second["attempt"], second["failures"], second["uuid"], second["retcode"], second["error"], second["stderr"]) == (
        "PENDING", 2, 0, before[1]["uuid"], None, None, None)
    dispatch, = engine.admit()
    assert (dispatch["position"], dispatch["attempt"], dispatch["result"]["stdout"]) == (1, 3, "one")
    assert play.result({**dispatch, "attempt": 2})["verdict"] == "late"
    play.result(dispatch)
    assert engine.operation(operation)["status"] == "SUCCESS"
    assert engine.operation(operation)["error"] is None


def test_retry_counts_failures_from_none(engine, play):
    operation = play.submit(policy={"max_attempts": 2, "delay": 0})
    for _ in range(2):
        play.result(play.dispatch(operation), retcode=1)
    engine.value("select kser.retry(%s)", operation)
    play.result(play.dispatch(operation), retcode=1)
    assert engine.statuses(operation)[0] == "PENDING"
    play.result(play.dispatch(operation), retcode=1)
    assert engine.operation(operation)["status"] == "FAILED" and engine.tasks(operation)[0]["attempt"] == 4


def test_retry_of_one_that_never_started(engine, play):
    operation = play.cancelled()
    engine.value("select kser.retry(%s)", operation)
    row = engine.operation(operation)
    assert (row["status"], row["started_at"]) == ("PENDING", None)
    assert engine.value("select started from kser.ready") is False
    assert [d["attempt"] for d in engine.admit()] == [1]


def test_retry_takes_its_key_again(engine, play):
    operation = play.submit(key="k", params={"a": 1})
    play.result(play.dispatch(operation), retcode=1)
    engine.value("select kser.retry(%s)", operation)
    assert play.submit(key="k", params={"a": 1}) == operation
    with pytest.raises(psycopg2.errors.UniqueViolation):
        play.submit(key="k", params={"a": 2})


def test_retry_is_refused_while_another_has_its_key(engine, play):
    operation = play.submit(key="k")
    play.result(play.dispatch(operation), retcode=1)
    other = play.submit(key="k")
    answer = verb(engine, "retry", operation)
    assert answer[0] == "refused" and str(other) in answer[1] and '"k"' in answer[1]
    assert engine.operation(operation)["status"] == "FAILED" and play.submit(key="k") == other
    play.result(play.dispatch(other), retcode=1)
    assert engine.value("select kser.retry(%s)", operation) == "retried"
    assert play.submit(key="k") == operation


def test_a_key_for_a_period_is_left_alone(engine, play):
    operation = play.submit(key="k", key_for="1h")
    play.result(play.dispatch(operation), retcode=1)
    engine.value("select kser.retry(%s)", operation)
    assert engine.value("select until is not null from kser.keys") and play.submit(key="k", key_for="1h") == operation
    engine.rows("delete from kser.keys")
    play.result(play.dispatch(operation), retcode=1)
    engine.value("select kser.retry(%s)", operation)
    assert engine.value("select count(*) from kser.keys") == 0


def test_a_passed_deadline_needs_a_new_one(engine, play):
    operation = play.submit(deadline="1h")
    play.result(play.dispatch(operation), retcode=1)
    engine.rows("update kser.operations set deadline_at = now() - interval '1 s'")
    answer = verb(engine, "retry", operation)
    assert answer[0] == "refused" and "deadline passed" in answer[1]
    with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState, match="must be after now"):
        engine.value("select kser.retry(%s, deadline => '-1 s')", operation)
    assert engine.value("select kser.retry(%s, deadline => '2 h')", operation) == "retried"
    assert engine.value("select deadline_at between now() + interval '119 min' and now() + interval '2 h' from kser.operations")


def without_result(engine, operation):
    """Ends an operation as the proof of loss or a worker's death does: no result of the attempt has come."""
    engine.rows("update kser.tasks set status = 'FAILED', error = 'Lost', retcode = 500, answer = null where operation_id = %s and position = 0", operation)
    engine.rows("update kser.operations set status = 'FAILED', error = 'Lost', finished_at = now() where id = %s", operation)


def test_retry_is_refused_while_the_last_attempt_may_still_run(engine, play):
    operation = play.running()
    without_result(engine, operation)
    answer = verb(engine, "retry", operation)
    assert answer[0] == "refused" and "may still run" in answer[1]
    partition, epoch = engine.rows("select partition, epoch from kser.tasks where position = 0")[0].values()
    for passed, expected in ((None, "refused"), (epoch, "refused"), (epoch + 1, "retried")):
        engine.rows("delete from kser.proofs")
        engine.rows("insert into kser.proofs (queue, epoch, looked_at, committed, ends, passed, problems, since)"
                    " select '', 1, now(), array_fill(0::bigint, array[12]), array_fill(0::bigint, array[12]), array_fill(%s::bigint, array[12]), array_fill(null::text, array[12]), array_fill(now(), array[12])", passed)
        answer = verb(engine, "retry", operation)
        assert (answer if isinstance(answer, str) else answer[0]) == expected


def test_retry_is_refused_while_a_worker_holds_the_task_and_can_be_forced(engine, play):
    operation = play.claimed()
    without_result(engine, operation)
    answer = verb(engine, "retry", operation)
    assert answer[0] == "refused" and "worker w1 holds attempt 1" in answer[1]
    assert engine.value("select kser.retry(%s, force => true)", operation) == "retried"
    assert engine.value("select count(*) from kser.claims") == 0
    assert engine.admit()[0]["attempt"] == 2


# --- Many


def test_many_at_once_each_with_its_answer(engine, play):
    wanted = {getattr(play, state)(): ANSWERS[state][0] for state in reversed(ANSWERS)}  # what is pending comes last: others admit
    rows = engine.rows("select * from kser.cancel_many(%s::uuid[], 'all')", [*wanted])
    assert {r["operation_id"]: r["answer"] for r in rows} == wanted
    assert [r["operation_id"] for r in rows] == sorted(wanted)
    assert all("only one that has not ended" in r["detail"] for r in rows if r["answer"] == "refused")


def test_many_wait_for_nobody(engine, play, another):
    """One is locked by an open transaction: it is answered moved, the others are done."""
    locked, free = play.pending(), play.pending()
    holder = another(autocommit=False)
    holder.rows("select from kser.tasks where operation_id = %s for update", locked)
    rows = {r["operation_id"]: r["answer"] for r in engine.rows("select * from kser.pause_many(%s::uuid[])", [locked, free])}
    assert rows == {locked: "moved", free: "paused"}
    holder.connection.rollback()
    assert engine.rows("select * from kser.pause_many(%s::uuid[])", [locked])[0]["answer"] == "paused"


def test_too_many_are_refused(engine):
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match="has 10001 elements, the limit is 10000"):
        engine.rows("select * from kser.pause_many(array(select gen_random_uuid() from generate_series(1, 10001)))")


# --- Races


def in_thread(call):
    got = []

    def run():
        try:
            got.append(call())
        except psycopg2.Error as error:
            got.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, got


@pytest.mark.parametrize("name, answer", [("pause", "paused"), ("cancel", "asked")])
def test_a_verb_that_waited_for_a_result_sees_the_next_task(engine, play, another, user, name, answer):
    """
    apply: ends task 0, starts task 1             (open)
    verb:  finds task 0 current, waits for its row
    apply: commits
    verb:  has the row of task 0, which is SUCCESS. Without its second look it would hold a lock on nothing: it could mark a task that has
           ended, and the result of task 1 could start task 2 before the verb commits.
    """
    operation = play.submit()
    dispatch = play.dispatch(operation)
    lane = another(autocommit=False)
    steerer = user(autocommit=False)
    second, = lane.apply(lane.result(dispatch, 1))
    thread, got = in_thread(lambda: steerer.value(f"select kser.{name}(%s)", operation))
    wait_until(lambda: engine.value(LOCKED), 10, "the verb to wait for the task")
    lane.connection.commit()
    thread.join()
    assert got == [answer]
    assert engine.apply(engine.result(second, 3), careful=True)[0]["verdict"] == "busy", "the verb holds the task that is current now"
    steerer.connection.commit()
    assert engine.value("select position from kser.history where kind = %s", name) == 1
    if name == "cancel":
        assert engine.value("select position from kser.stops") == 1 and [t["mark"] for t in engine.tasks(operation)] == [0, 3]
    else:
        engine.apply(engine.result(second, 2))
        assert engine.operation(operation)["status"] == "SUCCESS"


def test_a_verb_that_waited_for_a_plan_sees_the_task_it_brought(engine, play, another, user):
    """As above, but the result brings a plan: at the next position there is another task than before."""
    operation = play.submit()
    dispatch = play.dispatch(operation)
    lane = another(autocommit=False)
    lane.apply(lane.result(dispatch, 1, plan=[{"entrypoint": "planned"}]))
    thread, got = in_thread(lambda: user().value("select kser.cancel(%s)", operation))
    wait_until(lambda: engine.value(LOCKED), 10, "the verb to wait for the task")
    lane.connection.commit()
    thread.join()
    assert got == ["asked"]
    assert engine.value("select k.entrypoint from kser.stops s join kser.tasks k using (uuid)") == "planned"


def test_a_verb_that_waited_for_the_last_result_is_refused(engine, play, another, user):
    operation = engine.submit("x", 1)
    dispatch, = engine.admit()
    lane = another(autocommit=False)
    lane.apply(lane.result(dispatch, 1))
    thread, got = in_thread(lambda: user().value("select kser.cancel(%s)", operation))
    wait_until(lambda: engine.value(LOCKED), 10, "the verb to wait for the task")
    lane.connection.commit()
    thread.join()
    assert isinstance(got[0], psycopg2.errors.ObjectNotInPrerequisiteState) and "is SUCCESS" in str(got[0])


def test_a_result_that_waited_for_a_pause_starts_nothing(engine, play, another, user):
    """
    pause: holds the row of task 0, sets held     (open)
    apply: waits for the row of task 0
    pause: commits
    apply: ends task 0; whether the operation is held it must read after its wait, or task 1 would become RUNNING after the pause.
    """
    operation = play.submit()
    dispatch = play.dispatch(operation)
    steerer = user(autocommit=False)
    steerer.value("select kser.pause(%s)", operation)
    lane = another()
    lane.rows("set lock_timeout = 0")
    thread, got = in_thread(lambda: lane.apply(lane.result(dispatch, 1)))
    wait_until(lambda: engine.value(LOCKED), 10, "the result to wait for the task")
    steerer.connection.commit()
    thread.join()
    assert got[0][0]["verdict"] == "won" and got[0][0]["uuid"] is None
    assert engine.statuses(operation) == ["SUCCESS", "PENDING"]


def test_an_admission_passes_by_what_a_verb_holds(engine, play, user):
    """
    pause: holds the row of task 0, has set held  (open)
    admit: finds the operation due; it must neither wait nor start it on what it saw before
    """
    operation = play.pending()
    steerer = user(autocommit=False)
    steerer.value("select kser.pause(%s)", operation)
    assert engine.admit() == []
    steerer.connection.commit()
    assert engine.admit() == [] and engine.statuses(operation)[0] == "PENDING"


def test_a_pause_that_waited_for_an_admission(engine, play, another, user):
    """
    admit: starts task 0                          (open)
    pause: waits for its row
    admit: commits: task 0 was RUNNING before the pause, and nothing follows it
    """
    operation = play.pending()
    lane = another(autocommit=False)
    dispatch, = lane.admit()
    thread, got = in_thread(lambda: user().value("select kser.pause(%s)", operation))
    wait_until(lambda: engine.value(LOCKED), 10, "the pause to wait for the task")
    lane.connection.commit()
    thread.join()
    assert got == ["paused"]
    assert engine.apply(engine.result(dispatch, 1))[0]["uuid"] is None
    assert engine.statuses(operation) == ["SUCCESS", "PENDING"]


@pytest.mark.parametrize("first, second, answers", [("cancel", "cancel", ("withdrawn", "withdrawn")), ("pause", "pause", ("paused", "paused")),
                                                    ("pause", "cancel", ("paused", "withdrawn")), ("cancel", "pause", ("withdrawn", None)), ("resume", "pause", ("resumed", "paused"))])
def test_two_verbs_at_once_come_one_after_the_other(engine, play, user, first, second, answers):
    """The second waits for the first's row lock and must then decide on what the first has left, not on what it saw before."""
    operation = play.pending()
    one = user(autocommit=False)
    assert one.value(f"select kser.{first}(%s)", operation) == answers[0]
    thread, got = in_thread(lambda: user().value(f"select kser.{second}(%s)", operation))
    wait_until(lambda: engine.value(LOCKED), 10, "the second verb to wait for the first")
    one.connection.commit()
    thread.join()
    if answers[1]:
        assert got == [answers[1]]
    else:
        assert isinstance(got[0], psycopg2.errors.ObjectNotInPrerequisiteState)
    assert engine.value("select count(*) from kser.history") == (1 if first == second or answers[1] is None else 1 + (first != "resume"))


def test_two_retries_at_once_make_one(engine, play, user):
    """Both saw FAILED: the second must not put a second ready row there, nor set back what runs again already."""
    operation = play.failed()
    one = user(autocommit=False)
    assert one.value("select kser.retry(%s)", operation) == "retried"
    thread, got = in_thread(lambda: user().value("select kser.retry(%s)", operation))
    wait_until(lambda: engine.value(LOCKED), 10, "the second to wait for the first")
    one.connection.commit()
    thread.join()
    assert isinstance(got[0], psycopg2.errors.ObjectNotInPrerequisiteState) and "it is RUNNING" in str(got[0])
    assert engine.value("select count(*) from kser.ready") == 1


def test_a_retry_and_a_submit_with_its_key_at_once(engine, play, user):
    """
    submit: takes the key                         (open)
    retry:  waits for the key
    submit: commits: the key is its, the retry is refused and has changed nothing
    """
    operation = play.submit(key="k")
    play.result(play.dispatch(operation), retcode=1)
    caller = Play(user(autocommit=False))
    other = caller.submit(key="k")
    thread, got = in_thread(lambda: user().value("select kser.retry(%s)", operation))
    wait_until(lambda: engine.value(LOCKED), 10, "the retry to wait for the key")
    caller.engine.connection.commit()
    thread.join()
    assert isinstance(got[0], psycopg2.errors.ObjectNotInPrerequisiteState) and str(other) in str(got[0])
    assert engine.operation(operation)["status"] == "FAILED"


def test_two_bulk_retries_that_want_the_same_keys(engine, play, user):
    """
    submit: takes the key b                                      (open)
    one:    takes the key a, waits for b; it wants c as well
    two:    its operations have the keys c and a, in this order: with c taken first it would wait for a, and one for c
    submit: rolls back: one gets all of its keys, two none
    """
    def failed(key):
        operation = play.submit(key=key)
        play.result(play.dispatch(operation), retcode=1)
        return operation

    first, second = [failed(key) for key in "abc"], [failed(key) for key in "ca"]
    assert first == sorted(first) and second == sorted(second)
    caller = Play(user(autocommit=False))
    caller.submit(key="b")
    retry = "select answer from kser.retry_many(%s::uuid[])"
    one, from_one = in_thread(lambda: user().rows(retry, first))
    wait_until(lambda: engine.value(LOCKED) == 1, 10, "the first to wait for the key b")
    two, from_two = in_thread(lambda: user().rows(retry, second))
    wait_until(lambda: engine.value(LOCKED) == 2, 10, "the second to wait for a key")
    caller.engine.connection.rollback()
    one.join()
    two.join()
    assert from_one == [[{"answer": "retried"}] * 3] and from_two == [[{"answer": "refused"}] * 2]


def test_pauses_amid_results(engine, play, another, user):
    """Operations step on as fast as they can while others pause them: once a pause has returned, no task of its operation becomes RUNNING."""
    operations = [engine.submit("x", 200) for _ in range(8)]
    dispatches = engine.admit()
    stop, wrong = threading.Event(), []

    def lane(session, mine):
        answer = 0
        while mine and not stop.is_set():
            results = []
            for d in mine:
                answer += 1
                results.append(session.result(d, answer))
            results.sort(key=lambda r: (r["operation"], r["position"]))
            try:
                rows = session.apply(*results)
            except psycopg2.errors.LockNotAvailable:
                rows = session.apply(*results, careful=True)
            busy = [mine_by for mine_by in mine if any(r["verdict"] == "busy" and results[r["input"] - 1]["uuid"] == mine_by["uuid"] for r in rows)]
            mine = busy + [{**r} for r in rows if r["uuid"]]

    def pauser(session, operation):
        session.value("select kser.pause(%s)", operation)
        frozen = [(t["status"], t["attempt"]) for t in session.tasks(operation)]
        running = [i for i, (status, _) in enumerate(frozen) if status == "RUNNING"]
        for _ in range(50):
            now = [(t["status"], t["attempt"]) for t in session.tasks(operation)]
            if any(status == "RUNNING" and (i not in running or now[i] != frozen[i]) for i, (status, _) in enumerate(now)):
                wrong.append((operation, frozen, now))

    lanes = [threading.Thread(target=lane, args=(another(), dispatches[i::2])) for i in range(2)]
    for thread in lanes:
        thread.start()
    wait_until(lambda: engine.value("select min(n) >= 3 from (select count(*) filter (where status = 'SUCCESS') as n from kser.tasks group by operation_id) as x"), 30, "steps to go by")
    pausers = [threading.Thread(target=pauser, args=(user(), o)) for o in operations]
    for thread in pausers:
        thread.start()
    for thread in pausers:
        thread.join()
    stop.set()
    for thread in lanes:
        thread.join()
    assert not wrong
    assert engine.value("select count(*) from kser.operations where held") == 8


def test_a_forgotten_transaction_with_a_verb_ends_by_itself(play, user):
    session = user(autocommit=False)
    session.value("select kser.pause(%s)", play.pending())
    assert session.value("show idle_in_transaction_session_timeout") == "10s"
    session.connection.rollback()
    session.rows("set idle_in_transaction_session_timeout = '3s'")
    session.value("select kser.pause(%s)", play.pending())
    assert session.value("show idle_in_transaction_session_timeout") == "3s"


def test_verbs_are_durable(play, user):
    session = user(autocommit=False)
    session.rows("set synchronous_commit = off")
    session.value("select kser.pause(%s)", play.pending())
    assert session.value("show synchronous_commit") == "on"


def test_who_may_steer(engine, play):
    operation = play.pending()
    for name in ("cancel", "pause", "resume", "retry"):
        for role in ("kser_read", "kser_submit"):
            engine.rows(f"set role {role}")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                engine.value(f"select kser.{name}(%s)", operation)
            engine.rows("reset role")
    engine.rows("set role kser_operate")
    assert engine.value("select kser.pause(%s, 'mine')", operation) == "paused"
    assert engine.value("select kser.resume(%s)", operation) == "resumed"
    assert engine.value("select kser.cancel(%s)", operation) == "withdrawn"
    assert engine.value("select kser.retry(%s)", operation) == "retried"
    engine.rows("reset role")
    assert engine.value("select array_agg(distinct actor) from kser.history") == ["postgres"]


# --- Together with the functions that end attempts


def test_what_was_stopped_without_a_word_may_still_run_and_what_was_handed_back_does_not(engine, play):
    """Both were asked to stop. One worker says that it has; of the other nothing is heard, and after five seconds its attempt is fenced off."""
    silent, obedient = play.submit(), play.submit()
    dispatches = {d["operation_id"]: d for d in engine.admit()}
    engine.rows("select * from kser.cancel_many(%s::uuid[])", [silent, obedient])
    d = dispatches[obedient]
    name = {"uuid": str(d["uuid"]), "op": str(obedient), "pos": 0, "attempt": 1, "gen": d["generation"], "reason": "stopped"}
    engine.rows("select * from kser.release('w1', %s::jsonb)", json.dumps([name]))
    engine.rows("update kser.stops set asked_at = now() - interval '6 s'")
    engine.rows("select kser.overdue()")
    assert [engine.operation(o)["error"] for o in (silent, obedient)] == ["Cancelled"] * 2
    assert [engine.value("select kser.cancel(%s)", o) for o in (silent, obedient)] == ["withdrawn"] * 2
    answer = verb(engine, "retry", silent)
    assert answer[0] == "refused" and "may still run" in answer[1]
    assert verb(engine, "retry", obedient) == "retried"
    assert engine.value("select kser.retry(%s, force => true)", silent) == "retried"
    assert {d["attempt"] for d in engine.admit()} == {2}


def test_a_result_that_comes_after_the_end_says_that_the_attempt_is_over(engine, play):
    operation = play.submit()
    dispatch = play.dispatch(operation)
    engine.value("select kser.cancel(%s)", operation)
    engine.rows("update kser.stops set asked_at = now() - interval '6 s'")
    engine.rows("select kser.overdue()")
    assert "may still run" in verb(engine, "retry", operation)[1]
    assert [a["verdict"] for a in engine.apply(engine.result(dispatch, 7))] == ["late"]
    assert engine.value("select kser.retry(%s)", operation) == "retried"


def ended_without_a_word(engine, play):
    """Claimed, asked to stop, and fenced off after five seconds; the proof of loss has passed its record. The dispatch."""
    dispatch = play.dispatch(play.submit())
    operation = dispatch["operation_id"]
    claim = {"uuid": str(dispatch["uuid"]), "op": str(operation), "pos": 0, "attempt": 1, "gen": dispatch["generation"]}
    engine.rows("select * from kser.hold('w1', %s::jsonb, '8 s')", json.dumps([claim]))
    engine.value("select kser.cancel(%s)", operation)
    engine.rows("update kser.stops set asked_at = now() - interval '6 s'")
    engine.rows("select kser.overdue()")
    engine.rows("select kser.sample('', 9, 9, array_fill(10::bigint, array[12]))")
    engine.rows("select kser.look('', 9, array_fill(10::bigint, array[12]), array_fill(true, array[12]), array_fill(0::bigint, array[12]), array_fill(10::bigint, array[12]))")
    assert engine.value("select passed[1] from kser.proofs") == 9
    return operation, claim


# Its record was passed when it was claimed: that says nothing about whether its worker, which heeds no stop, still runs it.
def test_a_claimed_attempt_that_was_ended_without_a_word_may_still_run(engine, play):
    operation, _ = ended_without_a_word(engine, play)
    answer = verb(engine, "retry", operation)
    assert answer[0] == "refused" and "may still run" in answer[1]


def test_a_release_that_comes_after_the_end_says_that_the_attempt_is_over(engine, play):
    operation, claim = ended_without_a_word(engine, play)
    engine.rows("select * from kser.release('w1', %s::jsonb)", json.dumps([{**claim, "reason": "stopped"}]))
    assert engine.value("select kser.retry(%s)", operation) == "retried"


def test_the_result_of_a_cancelled_task_counts_but_nothing_follows_and_retry_goes_on_behind_it(engine, play):
    operation = play.submit()
    dispatch = play.dispatch(operation)
    engine.value("select kser.cancel(%s)", operation)
    assert play.result(dispatch, stdout="done")["uuid"] is None
    assert engine.statuses(operation) == ["SUCCESS", "PENDING"] and engine.operation(operation)["error"] == "Cancelled"
    assert engine.value("select kser.retry(%s)", operation) == "retried"
    assert [d["position"] for d in engine.admit()] == [1]


@pytest.mark.parametrize("force", [False, True])
def test_retry_of_one_whose_tasks_have_all_succeeded_is_refused(engine, play, force):
    """Its last task had just returned a plan, which was not taken, for somebody had cancelled: there is no task to go on with."""
    operation = engine.submit("x", 1)
    dispatch = play.dispatch(operation)
    engine.value("select kser.cancel(%s)", operation)
    play.result(dispatch, plan=[{"entrypoint": "more"}])
    assert engine.statuses(operation) == ["SUCCESS"] and engine.operation(operation)["error"] == "Cancelled"
    with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState, match="all its tasks have succeeded"):
        engine.value("select kser.retry(%s, force => %s)", operation, force)
