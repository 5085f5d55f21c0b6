"""The proof of loss: round_begin, sample, look, lose. What merely queues is never touched; what cannot be proved is told."""

import uuid

import pytest


class Rounds:
    """Plays the keeper's rounds on the queue '': logs and offsets are what the test says."""

    def __init__(self, engine):
        self.engine = engine

    def begin(self):
        return self.engine.rows("select * from kser.round_begin()")[0]

    def sample(self, ends, valid=None, queue=""):
        begun = self.begin()
        valid = begun["epoch"] if valid is None else valid
        self.engine.rows("select kser.sample(%s, %s, %s, %s::bigint[])", queue, begun["epoch"], valid, ends)
        return begun["epoch"]

    def look(self, committed, ends, epoch=None, marked=None, starts=None, queue=""):
        """The row of `proofs` after it."""
        epoch = self.engine.value("select epoch from kser.meta") if epoch is None else epoch
        count = len(ends)
        self.engine.rows("select kser.look(%s, %s, %s::bigint[], %s::boolean[], %s::bigint[], %s::bigint[])", queue, epoch, committed,
                         [True] * count if marked is None else marked, [0] * count if starts is None else starts, ends)
        return self.engine.rows("select * from kser.proofs where queue = %s", queue)[0]

    def lose(self, epoch=None, queue="", between="0"):
        epoch = self.engine.value("select epoch from kser.meta") if epoch is None else epoch
        return [(r["operation_id"], r["position"], r["attempt"]) for r in self.engine.rows("select * from kser.lose(%s, %s, %s)", queue, epoch, between)]

    def answered(self, partitions=12, queue=""):
        """A sample and a look that prove everything until now answered."""
        self.sample([10] * partitions, queue=queue)
        self.look([10] * partitions, [10] * partitions, queue=queue)

    def older(self, seconds):
        """The last look was so long ago."""
        self.engine.rows("update kser.proofs set since = array(select s - make_interval(secs => %s) from unnest(since) as s)", seconds)


@pytest.fixture
def rounds(engine):
    return Rounds(engine)


def test_a_round_raises_the_epoch_and_tells_the_floor(engine, rounds):
    first, second = uuid.uuid4(), uuid.uuid4()
    begun = rounds.begin()
    assert (begun["epoch"], begun["floor"]) == (2, 1), "nobody is registered: nothing of this epoch"
    engine.beat(first)
    engine.rows("update kser.instances set floor = 7")
    assert rounds.begin()["floor"] == 2, "no floor is above what was committed before"
    engine.rows("update kser.instances set floor = 1")
    engine.beat(second)
    engine.rows("update kser.instances set floor = 3 where id = %s", second)
    assert (rounds.begin()["floor"], engine.value("select epoch from kser.meta")) == (1, 4)


def test_ends_that_stay_raise_the_sample(engine, rounds):
    rounds.sample([1, None, 3], valid=1)
    epoch = rounds.sample([1, None, 3], valid=2)
    row, = engine.rows("select * from kser.samples")
    assert (row["topic"], row["epoch"], row["valid"], row["ends"]) == ("", epoch, 2, [1, None, 3])
    rounds.sample([1, 2, 3])
    rounds.sample([1, None, 3])
    rounds.sample([9], queue="other")
    assert engine.value("select count(*) from kser.samples") == 4


def test_a_hundred_samples_old_and_new(engine, rounds):
    """A queue that is long behind needs an old one: the older, the further apart."""
    for n in range(400):
        rounds.sample([n])
    epochs = [r["epoch"] for r in engine.rows("select epoch from kser.samples order by epoch")]
    assert len(epochs) == 100 and epochs[0] == 2 and epochs[-1] == 401
    assert epochs[-5:] == list(range(397, 402)), "the newest are all there"
    assert max(b - a for a, b in zip(epochs, epochs[1:])) <= 40


def test_a_late_sample_of_another_keeper_is_dropped(engine, rounds):
    epoch = rounds.sample([5])
    engine.rows("select kser.sample('', %s, %s, '{4}')", epoch - 1, epoch - 1)
    assert engine.value("select ends from kser.samples") == [5]


def test_each_partition_has_its_own_proof(rounds):
    first = rounds.sample([5, 5, 5])
    second = rounds.sample([9, 5, 9])
    proof = rounds.look([7, 5, 9], [12, 5, 9])
    assert proof["passed"] == [first, second, second] and proof["problems"] == [None] * 3


def test_what_was_not_sampled_gets_nothing(rounds):
    rounds.sample([5, None])
    proof = rounds.look([9, 9, 9], [9, 9, 9])
    assert proof["passed"][1:] == [None, None] and proof["passed"][0]


def test_valid_is_what_the_floor_allows(rounds):
    rounds.sample([5], valid=1)
    assert rounds.look([5], [5])["passed"] == [1]


def test_nobody_has_committed(rounds):
    epoch = rounds.sample([0, 5])
    proof = rounds.look([None, None], [0, 5], marked=[None, None])
    assert proof["passed"] == [epoch, None] and proof["problems"] == [None, "no worker has committed an offset yet"]


def test_emptied_by_retention_and_nobody_committed(rounds):
    epoch = rounds.sample([5])
    assert rounds.look([None], [5], marked=[None], starts=[5])["passed"] == [epoch]


def test_a_stranger_in_the_group_proves_nothing(rounds):
    rounds.sample([5, 5])
    proof = rounds.look([5, 5], [5, 5], marked=[False, None])
    assert proof["passed"] == [None, None] and proof["problems"] == ["the committed offset is not of a kser worker"] * 2


def test_below_the_start_of_the_log_for_a_minute(rounds):
    """Retention took records that nobody had read: they are gone, but not at the first sight (the start may move while workers commit)."""
    epoch = rounds.sample([50])
    proof = rounds.look([3], [50], starts=[50])
    assert proof["passed"] == [None] and proof["problems"] == ["the committed offset is below the start of the log"]
    rounds.older(59)
    assert rounds.look([3], [50], starts=[50])["passed"] == [None]
    rounds.older(2)
    for _ in range(2):
        assert rounds.look([3], [50], starts=[50])["passed"] == [epoch], "and it stays so"
    assert rounds.look([3], [70], starts=[20])["passed"] == [None], "what is above the start is still to be read"
    assert rounds.look([50], [70], starts=[50])["problems"] == [None]
    assert rounds.look([3], [70], starts=[50])["passed"] == [None], "another minute"


@pytest.mark.parametrize("strange, problem", [(dict(committed=[9], ends=[5]), "the committed offset is beyond the end of the log"),
                                              (dict(committed=[3], ends=[4]), "the end of the log went back, the topic may have been made anew")], ids=["beyond", "back"])
def test_a_log_that_is_not_what_it_was(rounds, strange, problem):
    epoch = rounds.sample([5])
    rounds.look([5], [5])
    assert rounds.look(**strange)["problems"] == [problem]
    rounds.older(59)
    proof = rounds.look([5], [5])
    assert (proof["passed"], proof["problems"]) == ([None], [problem]), "sane again, but not for a minute"
    rounds.older(2)
    assert rounds.look([5], [5])["passed"] == [epoch]
    assert rounds.look(**strange)["passed"] == [None]
    rounds.older(61)
    assert rounds.look([9], [8])["passed"] == [None], "a strange one begins the minute anew"
    assert rounds.look([5], [8])["passed"] == [None]


def test_ends_that_are_not_known(rounds):
    epoch = rounds.sample([5, 5])
    rounds.look([5, 5], [5, 5])
    proof = rounds.look([5, 5], [None, 5])
    assert proof["passed"] == [None, epoch] and proof["problems"][0] == "the ends of the log are not known" and proof["ends"] == [5, 5]
    assert rounds.look([5, 5], [5, 5])["passed"] == [epoch, epoch]
    assert rounds.look([5, 5], [None, 5])["passed"][0] is None
    assert rounds.look([3, 5], [3, 5])["problems"][0].startswith("the end of the log went back"), "since it was last known"


def test_partitions_are_added(rounds):
    first = rounds.sample([5])
    rounds.look([5], [5])
    second = rounds.sample([5, 0, 2])
    proof = rounds.look([5, None, 2], [5, 0, 2])
    assert proof["passed"] == [second] * 3 and first < second


def test_a_topic_that_is_made_anew_with_fewer_partitions(rounds):
    rounds.sample([5, 5, 5])
    rounds.look([5, 5, 5], [5, 5, 5])
    proof = rounds.look([None], [0])
    assert proof["passed"] == [None] * 3
    assert proof["problems"] == ["the end of the log went back, the topic may have been made anew"] + ["the ends of the log are not known"] * 2


def test_an_older_look_does_not_replace_a_newer_one(rounds):
    epoch = rounds.sample([5])
    rounds.look([5], [5])
    assert rounds.look([None], [5], epoch=epoch - 1)["epoch"] == epoch


# --- Losing


def test_a_lost_task_is_found_twice_and_started_again(engine, rounds, running):
    operation, dispatch = running(2)
    rounds.answered()
    assert rounds.lose(between="2 s") == []
    assert engine.value("select count(*) from kser.suspects") == 1 and engine.statuses(operation)[0] == "RUNNING"
    rounds.answered()
    assert rounds.lose(between="2 s") == [], "too soon: a heartbeat may still bring its claim"
    engine.rows("update kser.suspects set since = since - interval '2 s'")
    rounds.answered()
    assert rounds.lose(between="2 s") == [(operation, 0, 1)]
    task = engine.tasks(operation)[0]
    assert (task["status"], task["losses"], task["failures"], task["attempt"]) == ("PENDING", 1, 0, 1)
    assert engine.kinds(operation) == ["lost"] and engine.value("select count(*) from kser.suspects") == 0
    again, = engine.admit()
    assert (again["attempt"], again["flags"]) == (2, 0)
    assert engine.apply(engine.result(dispatch, 1))[0]["verdict"] == "late"
    assert engine.apply(engine.result(again, 2))[0]["verdict"] == "won"


def test_a_task_that_waits_in_its_queue_is_never_lost(engine, rounds, running):
    operation, dispatch = running(1)
    rounds.sample([10] * 12)
    for _ in range(5):
        rounds.look([9] * 12, [10] * 12)
        assert rounds.lose() == []
    assert engine.statuses(operation) == ["RUNNING"] and dispatch["partition"] == 0


def test_what_was_dispatched_in_the_epoch_of_the_sample_is_not_proved(engine, rounds, running):
    """Stamped with the sample's own epoch it may stand above the sampled end."""
    rounds.sample([10] * 12)
    operation, dispatch = running(1)
    for _ in range(3):
        rounds.look([10] * 12, [10] * 12)
        assert rounds.lose() == []
    assert dispatch["epoch"] == rounds.engine.value("select max(valid) from kser.samples") and engine.statuses(operation) == ["RUNNING"]


def test_a_claimed_task_is_not_lost_and_no_suspect_any_more(engine, rounds, running):
    operation, dispatch = running(1)
    rounds.answered()
    rounds.lose(between="2 s")
    engine.hold("w1", dispatch)
    rounds.answered()
    assert rounds.lose() == [] and engine.value("select count(*) from kser.suspects") == 0
    assert engine.statuses(operation) == ["RUNNING"]


def test_only_in_the_round_of_the_look(engine, rounds, running):
    running(1)
    rounds.answered()
    assert rounds.lose() == []
    assert rounds.lose(epoch=99) == []
    rounds.begin()
    assert rounds.lose() == []
    assert engine.value("select count(*) from kser.suspects") == 1


def test_a_round_without_a_proof_forgets_the_suspects(engine, rounds, running):
    running(1)
    rounds.answered()
    rounds.lose(between="2 s")
    rounds.look([None] * 12, [10] * 12, marked=[None] * 12)
    assert rounds.lose() == [] and engine.value("select count(*) from kser.suspects") == 0


def test_queues_are_apart(engine, rounds):
    gpu = engine.submit("x", 1, queue="gpu")
    engine.admit(queue="gpu")
    default = engine.submit("x", 1)
    engine.admit()
    rounds.answered()
    rounds.lose(between="2 s")
    rounds.answered(queue="gpu")
    rounds.lose(queue="gpu", between="2 s")
    assert engine.value("select count(*) from kser.suspects") == 2
    assert rounds.lose(queue="gpu") == [(gpu, 0, 1)]
    assert engine.statuses(default) == ["RUNNING"]
    rounds.answered()
    assert rounds.lose() == [(default, 0, 1)]


def lose_all(rounds):
    rounds.answered()
    rounds.lose(between="2 s")
    rounds.answered()
    return rounds.lose()


def test_after_ten_losses_it_fails(engine, rounds, running):
    operation, _ = running([{"entrypoint": "a"}, {"entrypoint": "b"}])
    for n in range(10):
        assert len(lose_all(rounds)) == 1
        assert len(engine.admit()) == (n < 9)
    row = engine.operation(operation)
    assert (row["status"], row["error"], row["retcode"]) == ("FAILED", "Lost", 500)
    assert engine.kinds(operation) == ["lost"] * 10 + ["failed"]


def test_held_operations_are_looked_at_after_their_resume(engine, rounds, running):
    operation, _ = running(1)
    engine.rows("select kser.pause(%s)", operation)
    assert lose_all(rounds) == []
    engine.rows("select kser.resume(%s)", operation)
    assert lose_all(rounds) == [(operation, 0, 1)]


@pytest.mark.parametrize("done", [0, 7, 8, 31, 32, 33, 100, 199])
def test_deep_in_a_long_operation(engine, rounds, done):
    operation = engine.submit("x", [{"entrypoint": "e"}] * 200)
    engine.admit()
    engine.rows("update kser.tasks set status = 'SUCCESS', attempt = 1 where operation_id = %s and position < %s", operation, done)
    engine.rows("update kser.tasks set status = 'RUNNING', attempt = 1, epoch = 1, partition = 3 where operation_id = %s and position = %s", operation, done)
    assert engine.value("select kser.current_position(%s)", operation) == done
    assert lose_all(rounds) == [(operation, done, 1)]


@pytest.mark.parametrize("tasks", [1, 31, 32, 33, 64, 65])
def test_no_current_task_when_all_are_done(engine, tasks):
    operation = engine.submit("x", tasks)
    engine.rows("update kser.tasks set status = 'SUCCESS' where operation_id = %s", operation)
    assert engine.value("select kser.current_position(%s)", operation) is None
    assert engine.value("select kser.current_position(%s)", uuid.uuid4()) is None


def test_a_locked_suspect_is_left_for_the_next_round(engine, another, rounds, running):
    """A result is being applied while the keeper looks."""
    operation, dispatch = running(1)
    rounds.answered()
    rounds.lose(between="2 s")
    lane = another(autocommit=False)
    lane.apply(lane.result(dispatch, 1))
    rounds.answered()
    assert rounds.lose() == []
    lane.connection.commit()
    rounds.answered()
    assert rounds.lose() == [] and engine.statuses(operation) == ["SUCCESS"]


def test_stamped_anew_it_is_no_suspect(engine, rounds, running):
    """Its dispatch was given once more (the process that applied the reply before it died): the proof is about the old one."""
    operation, dispatch = running(2)
    second, = engine.apply(engine.result(dispatch, 7))
    rounds.answered()
    rounds.lose(between="2 s")
    assert engine.apply(engine.result(dispatch, 7))[0]["uuid"] == second["uuid"]
    assert engine.rows("select l.* from kser.proofs p, lateral kser.lose_one(clock_timestamp(), %s, 1, p, 10) as l", operation) == [], "nor when it was stamped during the look"
    assert rounds.lose() == [] and engine.statuses(operation) == ["SUCCESS", "RUNNING"]


def test_not_started_in_time(engine, rounds, running):
    """No worker serves the queue: the attempt fails with Timeout some seconds after it was to start, unless a worker has it."""
    operation, dispatch = running(1, policy={"start_within": "10s", "max_attempts": 2, "delay": "1h"})
    other, claimed = running(1, policy={"start_within": "10s"})
    assert dispatch["start_by_ms"] == engine.value("select kser.unix_ms(dispatched_at + interval '10 s') from kser.tasks where operation_id = %s", operation)
    engine.hold("w1", claimed)
    engine.rows("update kser.tasks set dispatched_at = dispatched_at - interval '14 s'")
    rounds.begin()
    assert rounds.lose() == [] and engine.statuses(operation) == ["RUNNING"]
    engine.rows("update kser.tasks set dispatched_at = dispatched_at - interval '2 s'")
    assert rounds.lose() == []
    task = engine.tasks(operation)[0]
    assert (task["status"], task["error"], task["retcode"], task["failures"]) == ("PENDING", "Timeout", 504, 1)
    assert engine.statuses(other) == ["RUNNING"]
    assert engine.apply(engine.result(dispatch, 1))[0]["verdict"] == "late"
