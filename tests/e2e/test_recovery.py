"""What is lost is found: dead workers, lost dispatches, frozen processes, topics and offsets that somebody changed, a database set back."""

import shutil
import signal

import pytest
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions

from support.cell import Cell
from support.postgres import Postgres
from support.waiting import wait_until

LEASE = 15  # a dead worker's task starts elsewhere within so many seconds


def with_faults(cell, faults, *arguments):
    """An orchestrator that meets crash points."""
    return cell.processes.start("kser-orchestrator", *arguments, environment={**cell.environment, "KSER_FAULT": faults})


def without_workers(cell):
    orchestrator = cell.orchestrator()
    cell.wait_for_orchestrators(1)
    return orchestrator


def claims(cell):
    return cell.database.value("select count(*) from kser.claims")


def history(cell, id):
    return [kind for kind, in cell.database.query("select kind from kser.history where operation_id = %s order by id", id)]


def worker_of(processes, pid):
    return next(process for process in processes if process.pid == pid)


def held(ledger, count=1):
    wait_until(lambda: len(ledger.lines()) == count, 30, f"{count} tasks to be held")


def ends(cell):
    """Of the topic of tasks; [] while it is being made."""
    try:
        return cell.kafka.ends(cell.topic("tasks"))
    except KafkaException:
        return []


def dispatched(cell, count):
    """Until so many tasks are running and their dispatches are in the topic of tasks."""
    wait_until(lambda: cell.running() == count and sum(ends(cell)) >= count, 30, f"{count} dispatches")


def rounds(cell, count):
    """Lets the keeper make so many rounds."""
    epoch = cell.database.value("select epoch from kser.meta")
    wait_until(lambda: cell.database.value("select epoch from kser.meta") >= epoch + count, 30 + 5 * count, f"{count} rounds")


# --- Workers


def second_attempt(ledger):
    """Waits for the second attempt of a task; the pid of its worker. (The first one may have been delivered to another worker too, when
    its offset was not committed yet.)"""
    return wait_until(lambda: next((line[3] for line in ledger.lines() if line[2] == 2), None), LEASE, "another attempt to start")


@pytest.mark.timeout(120)
def test_a_worker_dies_in_the_middle_of_a_long_task(cell, ledger):
    _, workers = cell.start(workers=2)
    id = cell.submit(ledger.hold(), ledger.note())
    held(ledger)
    wait_until(lambda: claims(cell) == 1, 20, "the claim")
    first = ledger.lines()[0][3]
    worker_of(workers, first).kill()
    second = second_attempt(ledger)
    assert second != first
    ledger.open()
    assert cell.wait(id)["SUCCESS"] == 1
    assert cell.tasks(id) == [(0, "SUCCESS", 2, 0), (1, "SUCCESS", 1, 0)]
    assert "expired" in history(cell, id)


# Its claim has lapsed and the task went on with another attempt: what it says when it wakes counts no more.
@pytest.mark.timeout(120)
def test_a_worker_that_was_frozen_changes_nothing(cell, ledger):
    _, workers = cell.start(workers=2)
    id = cell.submit(ledger.hold(), ledger.note())
    held(ledger)
    wait_until(lambda: claims(cell) == 1, 20, "the claim")
    frozen = worker_of(workers, ledger.lines()[0][3])
    frozen.freeze()
    assert second_attempt(ledger) != frozen.pid
    frozen.thaw()
    ledger.open()
    assert cell.wait(id)["SUCCESS"] == 1
    assert cell.tasks(id) == [(0, "SUCCESS", 2, 0), (1, "SUCCESS", 1, 0)]
    assert ledger.executions()[id, 1] == 1
    assert frozen.running


@pytest.mark.timeout(120)
def test_what_waits_for_a_worker_is_never_sent_again(cell, ledger):
    without_workers(cell)
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.note()]} for _ in range(40)])
    dispatched(cell, 40)
    rounds(cell, 6)
    assert sum(ends(cell)) == 40
    cell.worker()
    assert cell.wait(ids)["SUCCESS"] == 40
    cell.check_each_once(ids, 1)
    assert cell.database.value("select count(*) from kser.history") == 0


# A hundred tasks behind one slot: the last ones wait for many rounds in the hands of a worker that lives.
@pytest.mark.timeout(120)
def test_what_waits_behind_a_long_task_is_never_sent_again(cell, ledger):
    without_workers(cell)
    cell.worker("--slots", 1)
    cell.wait_for_workers(1)
    ids = [cell.submit(ledger.hold())]
    held(ledger)
    ids += cell.submit_many([{"name": "n", "tasks": [ledger.note()]} for _ in range(100)])
    wait_until(lambda: cell.running() == 101, 30, "all tasks to be on their way")
    rounds(cell, 6)
    ledger.open()
    assert cell.wait(ids)["SUCCESS"] == 101
    cell.check_each_once(ids, 1)


# --- Orchestrators


@pytest.mark.timeout(120)
@pytest.mark.parametrize("queue", ["", "other"])
def test_an_admission_whose_dispatch_is_lost_goes_on(cell, ledger, queue):
    victim = with_faults(cell, "admit.after_commit_before_produce=kill")
    cell.wait_for_orchestrators(1)
    id = cell.submit(ledger.note(), ledger.note(), queue=queue)
    assert victim.wait() == -signal.SIGKILL
    victim.killed = True
    assert cell.tasks(id)[0][1:3] == ("RUNNING", 1)
    cell.orchestrator()
    cell.worker("--queue", queue)
    assert cell.wait(id, 60)["SUCCESS"] == 1
    assert cell.tasks(id) == [(0, "SUCCESS", 2, 0), (1, "SUCCESS", 1, 0)]
    assert history(cell, id) == ["lost"]
    assert set(ledger.executions().values()) == {1}


# Removed while it was frozen: when it wakes it drops what it had not sent, joins anew, and works on.
@pytest.mark.timeout(180)
def test_an_orchestrator_that_was_frozen_joins_anew(cell, ledger):
    orchestrators, _ = cell.start(orchestrators=2, workers=2)
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.note()] * 20} for _ in range(100)])
    wait_until(lambda: len(ledger.lines()) > 200, 30, "some executions", pause=0.01)
    orchestrators[0].freeze()
    wait_until(lambda: cell.database.value("select count(*) from kser.instances") == 1, 30, "it to be removed")
    ids += cell.submit_many([{"name": "n", "tasks": [ledger.note()] * 3} for _ in range(100)])
    orchestrators[0].thaw()
    wait_until(lambda: "was removed" in orchestrators[0].text(), 30, "it to notice")
    cell.wait_for_orchestrators(2)
    assert cell.wait(ids, 120)["SUCCESS"] == 200
    more = [cell.submit(ledger.note()) for _ in range(20)]
    assert cell.wait(more, 60)["SUCCESS"] == 20
    assert all(process.running for process in orchestrators)


# The workers are done and have committed, and the answer waits because somebody holds the operation's row in an open transaction:
# no round may end before it is applied, else the task would count as lost.
@pytest.mark.timeout(120)
def test_an_answer_that_waits_is_not_lost(cell, ledger, connect):
    (orchestrator,), _ = cell.start()
    id = cell.submit(ledger.hold(), ledger.note())
    held(ledger)
    locker = connect(autocommit=False)
    with locker.cursor() as cursor:
        cursor.execute("select from kser.operations where id = %s for update", (id,))
        ledger.open()
        wait_until(lambda: "replies wait to be applied" in orchestrator.text(), 30, "a round to wait")
    locker.rollback()
    assert cell.wait(id)["SUCCESS"] == 1
    assert cell.tasks(id) == [(0, "SUCCESS", 1, 0), (1, "SUCCESS", 1, 0)]
    cell.check_each_once([id], 2)


# --- Topics and offsets


# Everything that was queued is gone with the topic; its new ends are told apart from the old ones, which takes a minute.
@pytest.mark.timeout(240)
def test_a_topic_of_tasks_is_deleted_and_made_again(cell, kafka, ledger):
    without_workers(cell)
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.note(), ledger.note()]} for _ in range(30)])
    dispatched(cell, 30)
    rounds(cell, 2)
    topic = cell.topic("tasks")
    admin = kafka.admin()
    admin.delete_topics([topic])[topic].result(30)
    wait_until(lambda: len(ends(cell)) == 12 and sum(ends(cell)) == 0, 60, "the topic to be made again")
    cell.worker()
    assert cell.wait(ids, 150)["SUCCESS"] == 30
    executions = ledger.executions()
    assert all(executions[id, position] == 1 for id in ids for position in range(2))


@pytest.mark.timeout(180)
def test_partitions_are_added(cell, kafka, ledger):
    kafka.create(cell.topic("tasks"), 2)
    cell.start()
    topic = cell.topic("tasks")
    ids = [cell.submit(ledger.note()) for _ in range(4)]
    admin = kafka.admin()
    admin.create_partitions([NewPartitions(topic, 6)])[topic].result(30)

    def all_used():
        ids.append(cell.submit(ledger.note(), ledger.note()))  # without one in flight the keeper does not look
        looked_at = cell.database.value("select cardinality(ends) from kser.proofs")
        return len(ends(cell)) == 6 and all(ends(cell)) and looked_at == 6

    wait_until(all_used, 60, "dispatches in all partitions, and the keeper's look at them")
    assert cell.wait(ids, 60)["SUCCESS"] == len(ids)
    assert cell.database.value("select max(attempt) from kser.tasks") == 1


def set_offsets(kafka, group, topic, offsets):
    """As an operator's tool does, while the group has no members."""
    wait_until(lambda: kafka.members(group) == 0, 30, "the group to be empty")
    consumer = kafka.consumer(group)
    consumer.commit(offsets=[TopicPartition(topic, n, offset) for n, offset in enumerate(offsets)], asynchronous=False)
    consumer.close()


# An operator moves the group past what was queued. Nobody has done that work, and what the group says is no proof that somebody
# has; once workers commit again in those partitions it is found lost.
@pytest.mark.timeout(180)
def test_a_group_is_moved_past_its_work(cell, kafka, ledger):
    kafka.create(cell.topic("tasks"), 2)  # each of them must be worked on before the proof of loss passes what was skipped
    _, (worker,) = cell.start()
    worker.stop()
    skipped = cell.submit_many([{"name": "n", "tasks": [ledger.note()]} for _ in range(30)])
    dispatched(cell, 30)
    set_offsets(kafka, f"{cell.prefix}.workers", cell.topic("tasks"), ends(cell))
    rounds(cell, 4)
    assert cell.database.value("select max(attempt) from kser.tasks") == 1, "a stranger's commit proves nothing"
    cell.worker()
    ids = list(skipped)

    def all_done():
        ids.extend(cell.submit_many([{"name": "n", "tasks": [ledger.note()]} for _ in range(3)]))
        return cell.statuses(skipped)["SUCCESS"] == 30

    wait_until(all_done, 90, "what was skipped to be sent again", pause=0.5)
    assert cell.wait(ids, 60)["SUCCESS"] == len(ids)
    assert set(ledger.executions().values()) == {1}


# Moved back: old dispatches are delivered once more and change nothing.
@pytest.mark.timeout(180)
def test_a_group_is_moved_back(cell, kafka, ledger):
    _, (worker,) = cell.start()
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.note(), ledger.note()]} for _ in range(20)])
    assert cell.wait(ids)["SUCCESS"] == 20
    worker.stop()
    waiting = cell.submit_many([{"name": "n", "tasks": [ledger.note()]} for _ in range(20)])
    dispatched(cell, 20)
    set_offsets(kafka, f"{cell.prefix}.workers", cell.topic("tasks"), [0] * 12)
    rounds(cell, 3)
    cell.worker()
    assert cell.wait(waiting)["SUCCESS"] == 20
    assert cell.database.value("select max(attempt) from kser.tasks") == 1
    assert all(ledger.executions()[id, 0] == 1 for id in waiting)


# A stranger's transaction that stays open hides nothing: the end of what is committed stands still, the end of the log does not.
@pytest.mark.timeout(180)
def test_an_open_transaction_in_the_topic_of_tasks(cell, kafka, ledger):
    without_workers(cell)
    stranger = Producer({"bootstrap.servers": kafka.brokers, "transactional.id": cell.prefix, "transaction.timeout.ms": 600000, "log_level": 0})
    stranger.init_transactions(30)
    stranger.begin_transaction()
    for partition in range(12):
        stranger.produce(cell.topic("tasks"), b"{}", partition=partition)
    stranger.flush(30)
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.note()]} for _ in range(40)])
    wait_until(lambda: cell.running() == 40, 30, "40 dispatches")
    cell.worker()
    cell.wait_for_workers(1)
    rounds(cell, 5)
    assert cell.database.value("select max(attempt) from kser.tasks") == 1, "nobody has read them"
    stranger.abort_transaction(30)
    assert cell.wait(ids)["SUCCESS"] == 40
    cell.check_each_once(ids, 1)


@pytest.mark.timeout(180)
def test_several_queues(cell, ledger):
    victim = with_faults(cell, "admit.after_commit_before_produce=kill@3")
    cell.wait_for_orchestrators(1)
    queues = ["", "a", "b"]
    ids = [cell.submit(ledger.note(), {**ledger.note(), "queue": queues[n - 1]}, queue=queues[n]) for n in range(3)]
    assert victim.wait(60) == -signal.SIGKILL
    victim.killed = True
    cell.orchestrator()
    for queue in queues:
        cell.worker("--queue", queue)
    assert cell.wait(ids, 90)["SUCCESS"] == 3
    lost = cell.database.query("select operation_id, position from kser.tasks where attempt = 2")
    assert len(lost) == 1
    assert set(ledger.executions().values()) == {1}


# --- The database


@pytest.fixture
def own_postgres():
    """A server of the test's own, that it may set back."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def own_cell(own_postgres, kafka, prefix, processes, ledger):
    database = own_postgres.create()
    assert processes.run("kser", "--database", database, "db", "migrate").returncode == 0
    return Cell(database, kafka, prefix, processes, ledger)


def copy(server, source, target):
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
    for path in [target, *target.rglob("*")]:
        shutil.chown(path, server.account.get("user"), server.account.get("group")) if server.account else None
    target.chmod(0o700)


# A snapshot is put back in silence: the same server as far as it can tell. Replies from its lost future tell.
@pytest.mark.timeout(240)
def test_a_database_that_was_set_back_in_silence(own_cell, own_postgres, ledger):
    cell, server = own_cell, own_postgres
    (orchestrator,), _ = cell.start()
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.note(), ledger.hold(), ledger.note()]} for _ in range(5)])
    wait_until(lambda: sum(line[1] == 1 for line in ledger.lines()) == 5, 30, "the second tasks to be held")
    server.stop()
    snapshot = server.directory / "snapshot"
    copy(server, server.data, snapshot)
    server.start()
    rounds(cell, 4)
    later = cell.submit_many([{"name": "later", "tasks": [ledger.hold(), ledger.note()]} for _ in range(5)])
    wait_until(lambda: len(ledger.lines()) == 15, 60, "later ones to be held")
    server.stop()
    copy(server, snapshot, server.data)
    server.start()
    ledger.open()
    wait_until(lambda: cell.database.value("select halted from kser.meta"), 60, "it to halt")
    wait_until(lambda: "new-generation" in orchestrator.text(), 30, "the remedy in the log")
    cell.database.query("select kser.new_generation('the backup was put back')")
    assert cell.wait(ids, 90)["SUCCESS"] == 5
    assert cell.statuses(later) == {}, "they were lost with the database"
    more = [cell.submit(ledger.note()) for _ in range(5)]
    assert cell.wait(more, 60)["SUCCESS"] == 5


# A backup is recovered to a point in time: the server's timeline tells, and nobody has to do anything.
@pytest.mark.timeout(240)
def test_a_backup_is_recovered_while_kafka_is_ahead(own_cell, own_postgres, ledger):
    cell, server = own_cell, own_postgres
    cell.start()
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.note(), ledger.hold(), ledger.note()]} for _ in range(5)])
    wait_until(lambda: sum(line[1] == 1 for line in ledger.lines()) == 5, 30, "the second tasks to be held")
    backup = server.directory / "backup"
    server.run("pg_basebackup", "-D", backup, "-h", server.directory, "-p", str(server.port), "-U", "postgres", "-c", "fast", "-X", "stream", "--no-sync")
    rounds(cell, 3)
    generation = cell.database.value("select generation from kser.meta")
    later = cell.submit_many([{"name": "later", "tasks": [ledger.hold(), ledger.note()]} for _ in range(5)])
    wait_until(lambda: len(ledger.lines()) == 15, 60, "later ones to be held")
    server.stop()
    copy(server, backup, server.data)
    (server.data / "recovery.signal").touch()
    with open(server.data / "postgresql.auto.conf", "a") as conf:
        conf.write("restore_command = 'false'\nrecovery_target = 'immediate'\nrecovery_target_action = 'promote'\n")
    server.start()
    wait_until(lambda: cell.database.value("select generation from kser.meta") != generation, 60, "a new generation")
    ledger.open()
    assert cell.wait(ids, 90)["SUCCESS"] == 5
    assert cell.statuses(later) == {}
    assert cell.database.value("select halted from kser.meta") is None
    assert cell.database.value("select count(*) from kser.history where kind = 'generation'") == 1, "once, by whoever noticed first"


# A standby answers and takes nothing: it is waited for until it takes over.
@pytest.mark.timeout(120)
def test_a_standby_is_waited_for(own_cell, own_postgres, ledger):
    cell, server = own_cell, own_postgres
    server.stop()
    (server.data / "standby.signal").touch()
    server.start()
    orchestrator = cell.orchestrator()
    wait_until(lambda: "is a standby" in orchestrator.text() or not orchestrator.running, 30, "it to find a standby")
    assert orchestrator.running
    cell.database.query("select pg_promote()")
    cell.worker()
    assert cell.wait([cell.submit(ledger.note())], 60)["SUCCESS"] == 1
