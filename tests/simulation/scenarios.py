"""Interleavings in the order told: those that need two sessions at the same time (who waits for whom, what is read after a wait), and
some that chance meets too rarely. Each returns what went wrong, or None: nothing does with the functions as they are, and each shows a
bug planted."""

import json
import threading

import psycopg2
import psycopg2.errors

from simulation.database import ENGINE, UUID_AS_TEXT, Session
from simulation.orchestrator import ADMIT, APPLY, DISPATCH, PLAIN
from simulation.schedule import Schedule
from simulation.world import Violation
from support.waiting import wait_until

SETTINGS = ENGINE + " -c sim.seconds=1900000000 -c sim.seed=scenario -c sim.call=0"


class Party:
    """One session, and a thread for a call that is to wait."""

    def __init__(self, database, lock_timeout="10s"):
        self.connection = psycopg2.connect(str(database), options=f"{SETTINGS} -c lock_timeout={lock_timeout}")
        psycopg2.extensions.register_type(UUID_AS_TEXT, self.connection)
        self.pid = self.connection.info.backend_pid
        self.thread = self.answer = self.error = None

    def call(self, statement, *arguments):
        with self.connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return cursor.fetchall() if cursor.description else []

    def commit(self):
        self.connection.commit()

    def once(self, statement, *arguments):
        rows = self.call(statement, *arguments)
        self.commit()
        return rows

    def start(self, statement, *arguments):
        def run():
            try:
                self.answer = self.call(statement, *arguments)
            except psycopg2.Error as error:
                self.error = error
        self.thread = threading.Thread(target=run)
        self.thread.start()

    def waits(self, other):
        """Until its call waits for a lock, or has ended."""
        wait_until(lambda: not self.thread.is_alive() or other.once("select 1 from pg_stat_activity where pid = %s and wait_event_type = 'Lock'", self.pid), 30, "a session to wait")

    def join(self):
        self.thread.join(30)
        if self.error:
            raise self.error
        return self.answer


def operation_of(party, tasks):
    (operation,), = party.once("select kser.submit('scenario', tasks => %s::jsonb)", json.dumps([{"entrypoint": f"step{i}"} for i in range(tasks)]))
    row = dict(zip(DISPATCH, party.once(ADMIT, "", [0])[0]))
    return operation, row


def success(dispatch, answer):
    """The arguments of an apply with one result."""
    return ([dispatch["uuid"]], [dispatch["operation_id"]], [dispatch["position"]], [dispatch["attempt"]], [dispatch["generation"]], [dispatch["epoch"]], [answer], [0], [None],
            [None], None, [None], ["w"], [100], [0], False)


def plain_success(dispatch, answer):
    """The same for the statement for plain successes."""
    return (dispatch["generation"], dispatch["epoch"], [dispatch["operation_id"]], [dispatch["position"]], [dispatch["uuid"]], [dispatch["attempt"]], [answer], [100], [0], ["w"],
            [None])


def applied(rows):
    """The dispatches in an answer of apply."""
    return [dict(zip(DISPATCH, row[4:])) for row in rows if row[4] is not None]


def closing(scenario):
    def run(database, switches=()):
        parties = [Party(database), Party(database), Party(database)]
        try:
            return scenario(*parties)
        finally:
            for party in parties:
                party.connection.close()
    run.__name__ = scenario.__name__
    return run


@closing
def result_waits_for_pause(operator, lane, observer):
    """A pause is under way when the running task's result arrives: the lane waits for the task's row, and must not trust what it read of
    `held` before."""
    operation, dispatch = operation_of(observer, 2)
    operator.call("select kser.pause(%s)", operation)
    lane.start(APPLY, *success(dispatch, 1))
    lane.waits(observer)
    operator.commit()
    rows = lane.join()
    lane.commit()
    if applied(rows):
        return "a task was started after its operation had been paused"
    return None


@closing
def plain_success_waits_for_pause(operator, lane, observer):
    """The same with the statement for plain successes, which reads `held` in the statement that waits: it must leave the task alone, for the mark that
    the pause has put on it. Then apply_results ends it, and starts nothing."""
    operation, dispatch = operation_of(observer, 2)
    operator.call("select kser.pause(%s)", operation)
    lane.start(PLAIN, *plain_success(dispatch, 1))
    lane.waits(observer)
    operator.commit()
    rows = lane.join()
    lane.commit()
    if rows:
        return "a plain success of a paused operation was applied by a statement that had read `held` before the pause"
    (_, verdict, *_), = rows = lane.once(APPLY, *success(dispatch, 1))
    return None if verdict == "won" and not applied(rows) else "what was left alone was not applied as a success of a paused operation"


@closing
def plain_success_waits_for_claim(holder, lane, observer):
    """The task's claim is under way when its result arrives: the statement for plain successes waits for the task's row and cannot see the claim,
    which would outlive the task."""
    _, dispatch = operation_of(observer, 1)
    name = {"uuid": dispatch["uuid"], "op": dispatch["operation_id"], "pos": 0, "attempt": 1, "gen": dispatch["generation"]}
    holder.call("select * from kser.hold('w', %s::jsonb, interval '8 s')", json.dumps([name]))
    lane.start(PLAIN, *plain_success(dispatch, 1))
    lane.waits(observer)
    holder.commit()
    rows = lane.join()
    lane.commit()
    if rows:
        return "a plain success of a claimed task was applied by a statement that does not know claims"
    lane.once(APPLY, *success(dispatch, 1))
    return "a claim is left though its task has ended" if observer.once("select 1 from kser.claims where operation_id = %s", dispatch["operation_id"]) else None


@closing
def pause_waits_for_result(lane, operator, second_lane):
    """A result is being applied when a pause comes: the pause waits for the row of a task that is not the current one when it gets it. It must
    lock the one that is, or the next result passes it by."""
    operation, dispatch = operation_of(lane, 3)
    following, = applied(lane.call(APPLY, *success(dispatch, 1)))
    operator.start("select kser.pause(%s)", operation)
    operator.waits(second_lane)
    lane.commit()
    operator.join()
    second_lane.once("set lock_timeout = '100ms'")
    try:
        started = applied(second_lane.call(APPLY, *success(following, 2)))
    except psycopg2.errors.LockNotAvailable:
        second_lane.connection.rollback()
        started = []
    operator.commit()
    second_lane.commit()
    if started:
        return "a task was started by a transaction that ended after the pause had been committed"
    return None


@closing
def result_of_a_claim_that_lapses(lane, sweeper, observer):
    """A lane has a task's row and goes for its claim, while the sweeper ends the same claim: whoever takes the claim first and waits for the
    task with it in hand stands in the lane's way."""
    _, dispatch = operation_of(observer, 1)
    name = {"uuid": dispatch["uuid"], "op": dispatch["operation_id"], "pos": 0, "attempt": 1, "gen": dispatch["generation"]}
    observer.once("select * from kser.hold('w', %s::jsonb, interval '8 s')", json.dumps([name]))
    observer.once("update kser.claims set renewed_at = renewed_at - interval '1 minute'")
    lane.call("set lock_timeout = '200ms'")
    lane.call("select 1 from kser.tasks where operation_id = %s and position = 0 for update", dispatch["operation_id"])
    sweeper.start("select * from kser.expire(to_timestamp(1900000000), to_timestamp(0), interval '8 s')")
    sweeper.waits(observer)
    try:
        lane.call(APPLY, *success(dispatch, 1))
        lane.commit()
        problem = None
    except (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected) as error:
        lane.connection.rollback()
        problem = f"the sweeper stood in the way of a result: {error.diag.message_primary}"
    sweeper.join()
    return problem


def played(scenario):
    """A scenario in the simulator's own world: no faults but those that it makes, then everything to its end."""
    def run(database, switches=()):
        schedule = Schedule(Session(database), scenario.__name__, switches)
        schedule.settings = {**schedule.settings, "operations": (1, 1), "tasks": (2, 2), "processes": 1, "restores": 0}
        try:
            schedule.set_up(queues=[""], policy=None)
            world = schedule.world
            world.failure_rate = world.plan_rate = world.unknown_rate = world.broken_round_rate = 0
            scenario(schedule, world.processes[0], world.workers[0])
            schedule.recover()
            schedule.clean()
        except Violation as violation:
            return str(violation)
        finally:
            schedule.session.close()
        return None
    run.__name__ = scenario.__name__
    return run


def start_first_task(schedule, process, worker):
    """The first task is in the worker's hands."""
    schedule.pass_time(2)
    process.keeper.turn(True)
    process.keeper.producer.flush()
    while worker.poll():
        pass
    worker.commit()


def answer(worker):
    worker.start()
    worker.finish_some(1)
    worker.producer.flush()
    worker.commit()


def lanes_turn(schedule, process):
    for lane in process.lanes:
        schedule.turn_of_lane(lane)


@played
def answer_in_the_middle_of_a_round(schedule, process, worker):
    """A task waits in a worker's hands for some rounds. In the middle of the next one it is run, answered and passed by the offset, before the
    round reads the offset and after whatever it did first: the answer must be waited for."""
    start_first_task(schedule, process, worker)
    for _ in range(3):
        schedule.pass_time(2)
        lanes_turn(schedule, process)
        process.rounds.run()
    schedule.pass_time(2)
    lanes_turn(schedule, process)
    process.rounds.step()
    process.rounds.step()
    answer(worker)
    process.rounds.run()


@played
def dispatch_after_a_long_sleep(schedule, process, worker):
    """An orchestrator is stopped between its commit and the send, for so long that it is removed; epochs pass. When it wakes it applies the
    reply again and sends the dispatch, which waits in its partition: it is of now, not of when it was decided."""
    schedule.join_orchestrator()
    other = schedule.world.processes[1]
    schedule.world.orchestrators.members = process.lanes
    schedule.world.orchestrators.assign(schedule.rng)
    start_first_task(schedule, process, worker)
    answer(worker)
    for lane in process.lanes:
        while lane.has_work() and lane.rows is None:
            lane.step()
    process.stalled = True
    for _ in range(8):
        schedule.pass_time(2)
        other.rounds.run()
        other.rounds.stage = None  # broken off: the reply is waited for
    process.stalled = False
    process.beat()
    process.beat()
    for lane in process.lanes:
        schedule.turn_of_lane(lane)
    for _ in range(3):
        schedule.pass_time(2)
        lanes_turn(schedule, process)
        other.rounds.run()


@played
def death_before_the_dispatch_left(schedule, process, worker):
    """An orchestrator has committed a result and dies before the dispatch that follows has left it: the reply must come again, to another one."""
    schedule.join_orchestrator()
    other = schedule.world.processes[1]
    schedule.world.orchestrators.members = process.lanes
    schedule.world.orchestrators.assign(schedule.rng)
    start_first_task(schedule, process, worker)
    answer(worker)
    for lane in process.lanes:
        while lane.has_work():
            lane.step()
        lane.commit()
        lane.producer.purge()
    schedule.world.orchestrators.members = process.lanes + other.lanes
    process.crash()
    schedule.rebalance(schedule.world.orchestrators)


SCENARIOS = (result_waits_for_pause, plain_success_waits_for_pause, plain_success_waits_for_claim, pause_waits_for_result, result_of_a_claim_that_lapses, answer_in_the_middle_of_a_round,
             dispatch_after_a_long_sleep, death_before_the_dispatch_left)
