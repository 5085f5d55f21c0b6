"""kser.submit and kser.submit_many: what they take, what they refuse, keys."""

import json
import threading

import psycopg2
import psycopg2.errors
import pytest

from support.waiting import wait_until

REFUSED = [
    ("select kser.submit(null)", "name: is missing"),
    ("select kser.submit('')", "name: must have 1 to 255 bytes, has 0"),
    ("select kser.submit(repeat('x', 256))", "name: must have 1 to 255 bytes, has 256"),
    ("select kser.submit(E'a\\nb')", "name: has a control character"),
    ("select kser.submit('x', '{}')", "tasks: must be an array, not object"),
    ("select kser.submit('x', '[]')", "tasks: is empty"),
    ("select kser.submit('x', '[1]')", "tasks[0]: must be an object, not number"),
    ("select kser.submit('x', '[{\"entrypoint\": \"a\"}, {}]')", "tasks[1].entrypoint: is missing"),
    ("select kser.submit('x', '[{\"entrypoint\": 5}]')", "tasks[0].entrypoint: must be a string, not number"),
    ("select kser.submit('x', '[{\"entrypoint\": \"a\", \"parms\": {}}]')", 'tasks[0]: unknown key "parms"'),
    ("select kser.submit('x', '[{\"entrypoint\": \"a\", \"params\": []}]')", "tasks[0].params: must be an object, not array"),
    ("select kser.submit('x', '[{\"entrypoint\": \"a\", \"uuid\": \"zz\"}]')", "tasks[0].uuid: is not a uuid"),
    ("select kser.submit('x', '[{\"entrypoint\": \"a\", \"queue\": \"no space\"}]')", "tasks[0].queue: must be up to 100 characters"),
    ("select kser.submit('x', (select jsonb_agg('{\"entrypoint\": \"a\"}'::jsonb) from generate_series(1, 10001)))", "tasks: has 10001 tasks, the limit is 10000"),
    ("select kser.submit('x', params => '[]')", "params: must be an object, not array"),
    ("select kser.submit('x', params => '{\"n\": 9223372036854775808}')", "params: the number 9223372036854775808 is outside"),
    ("select kser.submit('x', params => '{\"n\": 1e300}')", "params: the number 100000000000000000000000000000... (301 characters) is outside of"),
    ("select kser.submit('x', params => ('{\"a\":' || repeat('[', 62) || repeat(']', 62) || '}')::jsonb)", "params: is nested deeper than 62 levels"),
    ("select kser.submit('x', params => jsonb_build_object('a', repeat('x', 1100000)))", "params: has 1100009 bytes, the limit is 1044480"),
    ("select kser.submit('x', params => '{\"n\": 1e-400}')", "params: a number is closer to 0 than a double can be"),
    ("select kser.submit('x', start_at => 'infinity')", "start_at: is not a time"),
    ("select kser.submit('x', policy => '{\"jitter\": 1e-400}')", "policy.jitter: must be a number from 0 to 1"),
    ("select kser.submit('x', key => '')", "key: must be a string of 1 to 255 bytes"),
    ("select kser.submit('x', priority => 1000001)", "priority: must be an integer from -1000000 to 1000000"),
    ("select kser.submit('x', queue => 'a/b')", "queue: must be up to 100 characters"),
    ("select kser.submit('x', deadline => '-1s')", "deadline: is outside of 0 to 315360000 seconds"),
    ("select kser.submit('x', deadline => '11 years')", "deadline: is outside of 0 to 315360000 seconds"),
    ("select kser.submit('x', key_for => '1h')", "key_for: needs a key"),
    ("select kser.submit('x', policy => '{\"max_attempts\": 0}')", "tasks[0].policy.max_attempts: 0 (no limit) needs a budget or a deadline of the operation"),
    ("select kser.submit('x', policy => '{\"max_attempts\": 1.5}')", "policy.max_attempts: must be an integer from 1 to 1000"),
    ("select kser.submit('x', policy => '{\"backoff\": \"random\"}')", "policy.backoff: must be fixed, linear or exponential"),
    ("select kser.submit('x', policy => '{\"delay\": \"5 parsecs\"}')", "policy.delay: is not a duration"),
    ("select kser.submit('x', policy => '{\"jitter\": 2}')", "policy.jitter: must be a number from 0 to 1"),
    ("select kser.submit('x', policy => '{\"tries\": 2}')", 'policy: unknown key "tries"'),
    ("select kser.submit_many('{}')", "operations: must be an array, not object"),
    ("select kser.submit_many(null)", "operations: must be an array, not null"),
    ("select kser.submit_many('[{\"name\": \"a\"}, 5]')", "operations[1]: must be an object, not number"),
    ("select kser.submit_many('[{\"name\": \"a\"}, {\"name\": \"b\", \"start_at\": \"tomorrow\"}]')", "operations[1].start_at: is not a time"),
    ("select kser.submit_many('[{\"name\": \"a\"}, {\"name\": \"b\", \"retries\": 1}]')", 'operations[1]: unknown key "retries"'),
]


@pytest.mark.parametrize("statement, message", REFUSED, ids=[m for _, m in REFUSED])
def test_refused_with_the_place_and_the_limit(engine, statement, message):
    with pytest.raises(psycopg2.errors.InvalidParameterValue) as refused:
        engine.rows(statement)
    assert message in str(refused.value)
    assert engine.value("select count(*) from kser.operations") == 0


def test_depth_of_62_is_taken(engine):
    assert engine.rows("select kser.submit('x', params => ('{\"a\":' || repeat('[', 61) || repeat(']', 61) || '}')::jsonb)")


def test_an_error_repeats_little_of_the_input(engine):
    with pytest.raises(psycopg2.errors.InvalidParameterValue) as refused:
        engine.submit("x", [{"entrypoint": "a", "k" * 5000 + "\x1b[31m": 1}])
    assert len(str(refused.value).splitlines()[0]) < 500 and "\x1b" not in str(refused.value)


def test_rows_are_as_given(engine):
    operation = engine.submit("nightly", [{"entrypoint": "dump", "params": {"a": [1, None, "é"]}}, {"entrypoint": "zip", "queue": "big", "policy": {"max_attempts": 5}}],
                              params={"p": 1}, priority=7, queue="q", policy={"delay": "2s"}, metadata={"m": 1}, key="k", deadline="1h")
    row = engine.operation(operation)
    assert (row["name"], row["status"], row["priority"], row["queue"], row["params"], row["metadata"], row["key"]) == ("nightly", "PENDING", 7, "q", {"p": 1}, {"m": 1}, "k")
    assert (row["deadline_at"] - row["created_at"]).total_seconds() == 3600
    first, second = engine.tasks(operation)
    assert (first["entrypoint"], first["params"], first["queue"], first["policy"]) == ("dump", {"a": [1, None, "é"]}, "q", {"delay": "2s"})
    assert (second["entrypoint"], second["params"], second["queue"], second["policy"]) == ("zip", {}, "big", {"delay": "2s", "max_attempts": 5})
    assert {row["queue"] for row in engine.rows("select * from kser.window_free()")} == {"", "q"}


def test_without_tasks_the_name_is_the_only_task(engine):
    task, = engine.tasks(engine.submit("echo", params={"text": "x"}))
    assert (task["entrypoint"], task["params"]) == ("echo", {"text": "x"})


def test_ids_are_version_7_and_rise(engine):
    ids = [engine.submit("x") for _ in range(5)]
    assert all(i.version == 7 for i in ids)
    assert engine.value("select count(distinct id) from kser.operations") == 5


def test_many_returns_ids_in_order_and_is_all_or_none(engine):
    given = [{"name": f"n{i}", "tasks": [{"entrypoint": "e"}] * 3} for i in range(100)]
    ids = [row["submit_many"] for row in engine.rows("select * from kser.submit_many(%s)", json.dumps(given))]
    names = {row["id"]: row["name"] for row in engine.rows("select id, name from kser.operations")}
    assert [names[i] for i in ids] == [f"n{i}" for i in range(100)]
    assert engine.value("select count(*) from kser.tasks") == 300
    with pytest.raises(psycopg2.errors.InvalidParameterValue):
        engine.rows("select * from kser.submit_many(%s)", json.dumps(given + [{"name": ""}]))
    assert engine.value("select count(*) from kser.operations") == 100


def test_a_rollback_leaves_nothing(engine, another):
    writer = another(autocommit=False)
    writer.submit("x", 3, key="k")
    assert engine.admit() == []
    writer.connection.rollback()
    for table in ("operations", "tasks", "ready", "keys"):
        assert engine.value(f"select count(*) from kser.{table}") == 0


def test_same_key_same_body_is_the_same_operation(engine):
    first = engine.submit("x", 2, key="k", params={"a": 1})
    assert engine.submit("x", 2, key="k", params={"a": 1}) == first
    assert engine.value("select count(*) from kser.operations") == 1


def test_same_key_other_body_is_refused_and_writes_nothing(engine):
    first = engine.submit("x", key="k")
    with pytest.raises(psycopg2.errors.UniqueViolation) as refused:
        engine.submit("x", key="k", params={"a": 1})
    assert str(first) in str(refused.value) and '"k"' in str(refused.value)
    assert engine.value("select count(*) from kser.operations") == 1


@pytest.mark.parametrize("first, second", [
    ({"params": {"seconds": 6}, "priority": 0}, {"params": {"seconds": 6}}),
    ({"priority": 0, "params": {}, "metadata": {}, "queue": "", "policy": {}, "tasks": None, "start_at": None, "deadline": None}, {}),
    ({"params": None, "metadata": None, "queue": None, "policy": None, "priority": None}, {}),
    ({"params": {"tasks": [{"a": None}]}, "priority": 0}, {"params": {"tasks": [{"a": None}]}}),
    ({"tasks": [{"entrypoint": "a", "params": {}, "metadata": {}, "policy": {}, "queue": "", "uuid": None}, {"entrypoint": "b"}]}, {"tasks": [{"entrypoint": "a"}, {"entrypoint": "b"}]}),
    ({"queue": "q", "tasks": [{"entrypoint": "a", "params": None, "metadata": None, "policy": None, "queue": None}]}, {"queue": "q", "tasks": [{"entrypoint": "a"}]})], ids=str)
def test_what_says_the_default_makes_no_other_body(engine, first, second):
    def submit(body):
        return engine.value("select kser.submit_many(%s)", json.dumps([{"name": "x", "key": "k", **body}]))

    assert submit(first) == submit(second) == submit(first)
    assert engine.value("select count(*) from kser.operations") == 1


@pytest.mark.parametrize("first, second", [
    ({"params": {"a": None}}, {"params": {}}), ({"priority": 1}, {"priority": 0}), ({"policy": {"timeout": None}}, {}), ({"deadline": "60s"}, {"deadline": "1m"}),
    ({"queue": "q", "tasks": [{"entrypoint": "a", "queue": ""}]}, {"queue": "q", "tasks": [{"entrypoint": "a"}]}),
    ({"tasks": [{"entrypoint": "a", "params": {"b": {}}}]}, {"tasks": [{"entrypoint": "a"}]}), ({"tasks": [{"entrypoint": "a"}, {"entrypoint": "b"}]}, {"tasks": [{"entrypoint": "b"}, {"entrypoint": "a"}]}),
    ({"tasks": [{"entrypoint": "a", "policy": {"timeout": None}}]}, {"tasks": [{"entrypoint": "a"}]})], ids=str)
def test_what_means_something_else_is_another_body(engine, first, second):
    assert engine.value("select kser.body_hash(%s) <> kser.body_hash(%s)", json.dumps(first), json.dumps(second))


def test_submit_and_submit_many_have_the_same_body(engine):
    first = engine.submit("sleep", key="k", params={"seconds": 6}, deadline="1h")
    assert engine.value("""select kser.submit_many('[{"name": "sleep", "key": "k", "params": {"seconds": 6}, "deadline": 3600}]')""") == first


def test_a_key_is_free_again_when_its_operation_has_ended(engine):
    first = engine.submit("x", key="k")
    dispatch, = engine.admit()
    engine.apply(engine.result(dispatch, 1))
    assert engine.operation(first)["status"] == "SUCCESS"
    assert engine.submit("x", key="k") != first


def test_a_key_goes_with_its_operation(engine):
    engine.submit("x", key="a")
    engine.submit("x", key="b", policy={"max_attempts": 1})
    first, second = engine.admit()
    engine.apply(engine.result(first, 1), engine.result(second, 2, retcode=1))
    assert engine.value("select count(*) from kser.keys") == 0


def test_expired_keys_are_swept(engine):
    for i in range(5):
        engine.submit("x", key=f"k{i}", key_for="1h")
    engine.rows("update kser.keys set until = now() - interval '1 s' where key <> 'k0'")
    assert [engine.value("select kser.sweep(3)") for _ in range(3)] == [3, 1, 0]
    assert engine.value("select key from kser.keys") == "k0"


def test_an_open_submit_to_a_new_queue_holds_up_nobody(engine, another):
    """Both name a queue that nobody knows: were it inserted by submits, the second would wait for the first's transaction."""
    first = another(autocommit=False)
    first.submit("x", queue="new")
    assert engine.submit("x", queue="new")
    assert "new" in {row["queue"] for row in engine.rows("select * from kser.window_free()")}


def test_a_key_for_a_period_outlives_its_operation(engine):
    first = engine.submit("x", key="k", key_for="1h")
    dispatch, = engine.admit()
    engine.apply(engine.result(dispatch, 1))
    assert engine.submit("x", key="k", key_for="1h") == first
    engine.rows("update kser.keys set until = now() - interval '1 s'")
    assert engine.submit("x", key="k", key_for="1h") != first


def test_the_same_key_twice_in_one_list(engine):
    ids = engine.rows("""select * from kser.submit_many('[{"name": "a", "key": "k"}, {"name": "a", "key": "k"}]')""")
    assert ids[0] == ids[1]
    assert engine.value("select count(*) from kser.operations") == 1


def test_100_callers_with_one_key_make_one_operation(engine, user):
    sessions = [user() for _ in range(100)]
    got = []

    def call(session):
        got.append(session.submit("x", 2, key="k"))

    threads = [threading.Thread(target=call, args=(s,)) for s in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 100 and len(set(got)) == 1
    assert engine.value("select count(*) from kser.operations") == 1


def test_a_key_that_is_being_taken_is_waited_for(engine, user):
    """One takes the key and rolls back while the second waits for it: the second must then have it, not an id of nothing."""
    first, second = user(autocommit=False), user()
    lost = first.submit("x", key="k")
    got = []
    thread = threading.Thread(target=lambda: got.append(second.submit("x", key="k")))
    thread.start()
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    wait_until(lambda: engine.value(waiting), 10, "the second caller to wait for the key")
    first.connection.rollback()
    thread.join()
    assert got[0] != lost and engine.operation(got[0])["status"] == "PENDING"


def test_repeatable_read_that_cannot_see_the_key_is_told_to_repeat(engine, another):
    reader = another(autocommit=False)
    reader.rows("set transaction isolation level repeatable read")
    reader.value("select count(*) from kser.operations")
    engine.submit("x", key="k")
    with pytest.raises(psycopg2.errors.SerializationFailure):
        reader.submit("x", key="k")


def test_only_a_sleeping_orchestrator_is_told(engine, another, connect):
    listener = connect()
    listener.cursor().execute("listen kser_ready")

    def told():
        listener.cursor().execute("select 1")
        listener.poll()
        return [listener.notifies.pop() for _ in list(listener.notifies)]

    beat = "select * from kser.beat(gen_random_uuid(), 'n', 'v', 1, %s, true, '4s', '8s')"
    engine.rows(beat, False)
    engine.submit("x")
    assert not told()
    engine.rows(beat, True)
    engine.submit("x")
    assert told()


def test_submit_raises_a_lax_synchronous_commit(another):
    session = another(autocommit=False)
    session.rows("set synchronous_commit = off")
    session.submit("x")
    assert session.value("show synchronous_commit") == "on"


def test_the_role_submit_can_submit_and_nothing_else(engine):
    engine.rows("set role kser_submit")
    engine.submit("x", 2, key="k")
    for statement in ("select * from kser.operations", "update kser.tasks set status = 'SUCCESS'", "select kser.admit('', '{1}')", "delete from kser.ready"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            engine.rows(statement)


def test_the_role_read_can_look_and_not_change(engine):
    engine.submit("x", 2)
    engine.rows("set role kser_read")
    assert engine.value("select count(*) from kser.tasks") == 2
    for statement in ("update kser.operations set held = true", "select kser.submit('x')", "insert into kser.history (kind) values ('x')"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            engine.rows(statement)
