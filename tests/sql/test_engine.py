"""What keeps an installation together: signs of life, the keeper's role, dead letters, workers; plans; the schema itself."""

import json
import re
import uuid
from pathlib import Path

import pytest

from support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


def beat(engine, instance, **options):
    return engine.beat(instance, **options)


def test_one_keeper_at_a_time(engine):
    first, second = uuid.uuid4(), uuid.uuid4()
    assert beat(engine, first)["keeper"] and not beat(engine, second)["keeper"]
    assert beat(engine, first)["keeper"] and not beat(engine, second)["keeper"]
    engine.rows("update kser.instances set keeper_until = now() - interval '1 s'")
    assert beat(engine, second)["keeper"] and not beat(engine, first)["keeper"]


def test_a_keeper_that_leaves_makes_room_at_once(engine):
    first, second = uuid.uuid4(), uuid.uuid4()
    beat(engine, first)
    engine.rows("select kser.leave(%s)", first)
    assert beat(engine, second)["keeper"]


def test_a_silent_instance_is_removed_and_must_join_anew(engine):
    first, second = uuid.uuid4(), uuid.uuid4()
    beat(engine, first)
    beat(engine, second)
    engine.rows("update kser.instances set beat_at = now() - interval '9 s' where id = %s", second)
    beat(engine, first)
    assert not beat(engine, second, joining=False)["registered"]
    assert beat(engine, second, joining=True)["registered"]


def test_two_that_beat_at_the_same_moment_do_not_both_become_keeper(engine, another):
    """The second beats while the first's transaction is open: it cannot see that the role is taken."""
    first = another(autocommit=False)
    assert beat(first, uuid.uuid4())["keeper"]
    assert not beat(engine, uuid.uuid4())["keeper"]
    first.connection.commit()


def test_a_kept_snapshot_does_not_make_each_beat_of_an_idle_system_dear(engine, kept_snapshot):
    engine.rows("insert into kser.operations (id, name, status, created_at, started_at) select kser.uuid_v7(), 'x', 'RUNNING', now(), now() from generate_series(1, 50000)")
    instance = uuid.uuid4()
    assert beat(engine, instance)["in_flight"]
    engine.rows("update kser.operations set status = 'SUCCESS', finished_at = now()")
    engine.rows("select pg_stat_force_next_flush()")
    assert not beat(engine, instance)["in_flight"]
    assert beat(engine, instance)["in_flight"], "assumed, since to find out costs so much"
    wait_until(lambda: not beat(engine, instance)["in_flight"], 30, "another look")


def test_a_dead_letter_is_kept_once_and_cut(engine):
    for _ in range(2):
        engine.rows("select kser.bury('t', 1, 2, 'why', %s, null)", b"\x00\xff" + b"x" * 100000)
    letter, = engine.rows("select * from kser.dead_letters")
    assert (letter["topic"], letter["partition"], letter["kafka_offset"], letter["reason"]) == ("t", 1, 2, "why")
    assert bytes(letter["bytes"])[:2] == b"\x00\xff" and len(letter["bytes"]) == 65536


def test_workers_and_what_they_serve(engine):
    engine.rows("select kser.seen('w1', %s)", json.dumps({"queue": "q", "host": "h", "pid": 7, "slots": 4, "free": 3, "version": "1", "entrypoints": [{"name": "a", "required": ["x"]}, {"name": "b"}]}))
    engine.rows("select kser.seen('w1', %s)", json.dumps({"queue": "q", "slots": 4, "free": 1}))
    worker, = engine.rows("select * from kser.workers")
    assert (worker["entrypoints"], worker["free"], worker["left_at"]) == (["a", "b"], 1, None)
    assert {(r["name"], tuple(r["required"])) for r in engine.rows("select * from kser.entrypoints where queue = 'q'")} == {("a", ("x",)), ("b", ())}
    engine.rows("select kser.seen('w1', %s)", json.dumps({"queue": "q", "slots": 4, "free": 4, "leaving": True}))
    assert engine.value("select left_at is not null from kser.workers")


def test_a_heartbeat_that_comes_behind_the_last_one_brings_nobody_back(engine):
    engine.rows("select kser.seen('w1', %s)", json.dumps({"slots": 4}))
    engine.rows("select kser.seen('w1', %s)", json.dumps({"slots": 4, "leaving": True}))
    engine.rows("select kser.seen('w1', %s)", json.dumps({"slots": 4, "free": 1}))
    assert engine.value("select left_at is not null from kser.workers")


@pytest.mark.parametrize("entrypoints", [[{}], [1], [None], ["x"], [{"name": "a"}, {"name": "a"}], []], ids=str)
def test_a_strange_heartbeat_is_survived(engine, entrypoints):
    engine.rows("select kser.seen('w', %s)", json.dumps({"entrypoints": entrypoints}))
    assert engine.value("select count(*) from kser.workers") == 1


STATEMENTS = sorted(p for p in (ROOT / "sql" / "statements").glob("*.sql") if not p.name.startswith("schema_"))


@pytest.mark.parametrize("file", STATEMENTS, ids=lambda p: p.name)
def test_every_statement_prepares(engine, file):
    engine.rows("prepare s as " + file.read_text())


# Tables that grow. The others have a row or a few; claims are as many as the workers have slots.
GROWING = ("operations", "tasks", "ready", "history", "keys", "dead_letters")  # ended_operations is read as a whole


def recover(engine):
    """Runs through what recovery does, on tasks that give it something to do."""
    for entrypoint in "abcdefg":
        engine.submit("x", [{"entrypoint": entrypoint}] * 40, deadline="1h", policy={"start_within": "1h", "timeout": "1h"})
    held, released, expired, limited, lost, unstarted, late = engine.admit()
    engine.hold("w", held, expired, limited)
    engine.hold("w", held, expired, limited, lease="0")
    engine.hold("w2", held, late)
    engine.release("w", released)
    engine.rows("update kser.claims set renewed_at = renewed_at - interval '1 h' where operation_id = %s", expired["operation_id"])
    engine.rows("update kser.claims set deadline_at = renewed_at where operation_id = %s", limited["operation_id"])
    engine.expire()
    engine.rows("update kser.tasks set dispatched_at = dispatched_at - interval '2 h' where operation_id = %s", unstarted["operation_id"])
    for _ in range(2):
        epoch = engine.value("select epoch from kser.round_begin()")
        engine.rows("select kser.sample('', %s, %s, %s::bigint[])", epoch, epoch, [epoch] * 12)
        engine.rows("select kser.look('', %s, %s::bigint[], %s, %s::bigint[], %s::bigint[])", epoch, [epoch] * 12, [True] * 12, [0] * 12, [epoch] * 12)
        engine.rows("select * from kser.lose('', %s, '0')", epoch)
    assert engine.tasks(lost["operation_id"])[0]["losses"] == 1
    engine.rows("update kser.operations set deadline_at = created_at where id = any (%s::uuid[])", [late["operation_id"], lost["operation_id"]])
    engine.rows("select kser.overdue()")
    engine.rows("update kser.stops set asked_at = asked_at - interval '1 h'")
    engine.rows("select kser.overdue()")
    engine.rows("select * from kser.stops_open()")
    engine.rows("select kser.measure_backlog()")
    engine.rows("select * from kser.take_redrive(1)")
    engine.rows("select kser.redriven('{1}')")
    engine.rows("select kser.check_identity()")
    engine.rows("select kser.sweep(10)")
    engine.rows("select * from kser.purge('0')")
    engine.rows("select * from kser.purge_history('0')")
    engine.rows("select * from kser.purge_workers('0')")
    engine.rows("select * from kser.take_ended(10)")


class Notices:
    """Of a list psycopg2 keeps the last fifty only."""

    def __init__(self):
        self.texts = []

    def append(self, text):
        self.texts.append(text)


def watch_plans(engine):
    """The plans of all statements from now on, as texts: a list that grows."""
    engine.rows("load 'auto_explain'")
    for setting in ("log_min_duration = 0", "log_nested_statements = on"):
        engine.rows("set auto_explain." + setting)
    engine.rows("set client_min_messages = log")
    engine.connection.notices = notices = Notices()
    return notices.texts


def live_long(engine):
    """Leaves what a year leaves, in tables that the server has counted: many operations that ended, some that run."""
    engine.rows("""insert into kser.operations (id, name, status, created_at, started_at, finished_at, window_queue)
        select kser.uuid_v7(), 'old', 'SUCCESS', now(), now(), case when i > 2000 then now() end, 'busy' from generate_series(1, 5000) as i""")
    engine.rows("update kser.operations set status = 'RUNNING' where finished_at is null")
    engine.rows("""insert into kser.tasks (operation_id, position, attempt, uuid, status, entrypoint, queue, partition, epoch, dispatched_at)
        select o.id, p, 1, gen_random_uuid(), case when o.status = 'SUCCESS' or p < 5 then 'SUCCESS' when p = 5 then 'RUNNING' else 'PENDING' end::kser.status, 'noop', 'busy', 0, 1, now()
        from kser.operations o, generate_series(0, 9) as p""")
    engine.rows("vacuum analyze kser.operations, kser.tasks, kser.ready, kser.claims")


@pytest.mark.parametrize("age", ("new", "old"))
def test_no_statement_scans_a_growing_table(another, age):
    """Plans made on empty tables stay, and others are made when the server has counted what there is: none of them may go over a table that grows."""
    engine = another()
    if age == "old":
        live_long(engine)
    seen = watch_plans(engine)
    for call in ("hold('w', '[]', '8s')", "release('w', '[]')", "lose('', 1)", "expire(now(), now(), '8s')", "overdue()", "window_free()", "admit('', '{1}')", "measure_backlog()",
                 "stops_open()", "take_redrive(1)", "sweep(1)", "purge('1 h')", "purge_history('1 h')", "take_ended(1)"):
        engine.rows(f"select * from kser.{call}")
    engine.apply()
    engine.apply_plain()
    before = len(seen)
    engine.submit("x", [{"entrypoint": "a"}, {"entrypoint": "b", "queue": "other"}], key="k", policy={"max_attempts": 2, "delay": 0})
    engine.submit("x", 2)
    engine.submit("x", 1, key="ends")
    dispatches = engine.admit()
    assert len(engine.apply_plain(*[engine.result(d, 100 + i) for i, d in enumerate(dispatches)])) == 2
    dispatches = [d for d in dispatches if engine.tasks(d["operation_id"])[0]["status"] == "RUNNING"] + engine.rows("select *, 1 as generation from kser.tasks where status = 'RUNNING' and position = 1")
    engine.apply(*[engine.result(d, i, plan=[{"entrypoint": "p"}] if i else None) for i, d in enumerate(dispatches)])
    engine.apply(*[engine.result(d, i) for i, d in enumerate(dispatches)], careful=True)
    engine.apply(*[engine.result(d, 9 + i, retcode=1) for i, d in enumerate(engine.admit(queue="other") + engine.admit())])
    engine.rows("select kser.undeliverable(%s, 0, %s, 1, 1, 'x')", dispatches[0]["operation_id"], dispatches[0]["uuid"])
    engine.rows("select kser.bury('t', 1, 2, 'why', 'x', null)")
    assert "operations_running" not in "".join(seen[before:]), "operations are looked up by id"
    beat(engine, uuid.uuid4())
    recover(engine)
    engine.rows("select * from kser.window_free()")
    plans = "".join(seen)
    assert "operations_running" in plans
    assert plans.count("Index Scan") > 20, "no plans were seen"
    scans = re.findall(r"Seq Scan on (?:kser\.)?(\w+)", plans)
    assert not set(scans) & set(GROWING), [line for line in plans.splitlines() if "Seq Scan" in line]
    # Nor may an index be read from one end to the other, but those of a few rows and what ends at the first.
    assert read_whole(engine, plans) <= {"keys_until", "dead_letters_redrive", "operations_running", "ready_started"}


def read_whole(engine, plans):
    """The indexes of growing tables that are read from one end to the other."""
    whole = set(re.findall(r"Scan (?:using|on) (\w+)(?: on \w+)?(?: \w+)?  [^\n]*\n(?!\s+(?:Index|Recheck) Cond)", plans))
    return whole & {row["indexname"] for row in engine.rows("select indexname from pg_indexes where schemaname = 'kser' and tablename = any (%s)", list(GROWING))}


def steps(engine, count):
    """So many operations of two steps with keys, which a lane takes to their end in batches; claims, releases, a failure among them."""
    engine.rows("""select kser.submit_many((select jsonb_agg(jsonb_build_object('name', 'x', 'key', gen_random_uuid(), 'tasks', '[{"entrypoint": "a"}, {"entrypoint": "a"}]'::jsonb))
        from generate_series(1, %s)))""", count)
    first, *others = engine.admit(count)
    engine.hold("w", *others)
    engine.release("w", *others[:10])
    assert len(engine.apply_plain(*[engine.result(d, i, worker="w") for i, d in enumerate(others[10:100])])) == 0, "claims mark their tasks"
    engine.apply(*[engine.result(d, i, worker="w") for i, d in enumerate(others[10:])])
    engine.apply_plain(*[engine.result(first, 5000)])
    running = engine.rows("select *, 1 as generation from kser.tasks where status = 'RUNNING' and position = 1")
    engine.apply_plain(*[engine.result(d, 6000 + i) for i, d in enumerate(running[:-1])])
    engine.apply(engine.result(running[-1], 9000, retcode=1))


def counted(engine, table):
    """The rows of a table as the server's planner takes them."""
    return engine.value("select reltuples from pg_class where oid = %s::regclass", "kser." + table)


def many_submitted(engine, count):
    engine.rows("select kser.submit_many((select jsonb_agg('{\"name\": \"x\"}'::jsonb) from generate_series(1, %s)))", count)


def test_a_beat_counts_what_has_grown_and_passes_over_what_is_locked(engine, another):
    engine.rows("vacuum analyze")
    other = another(autocommit=False)
    other.rows("lock table kser.keys")
    many_submitted(engine, 1000)
    engine.hold("w", *engine.admit(1000))
    assert counted(engine, "claims") < 1000
    engine.rows("select set_config('kser.growth_looked_at', '', false)")
    assert beat(engine, uuid.uuid4())["keeper"]
    assert counted(engine, "claims") == counted(engine, "tasks") == 1000


def test_a_session_looks_for_growth_now_and_then(engine):
    engine.rows("vacuum analyze")
    many_submitted(engine, 1000)
    for looked_at, seen in (("clock_timestamp()", False), ("clock_timestamp() - interval '1 s'", True)):
        engine.rows(f"select set_config('kser.growth_looked_at', ({looked_at})::text, false), kser.count_grown()")
        assert (counted(engine, "tasks") == 1000) is seen
    many_submitted(engine, 3000)
    engine.rows("select set_config('kser.growth_looked_at', (clock_timestamp() + interval '1 h')::text, false), kser.count_grown()")
    assert counted(engine, "tasks") == 4000, "the clock was set back"


def test_rows_of_an_open_submit_are_counted_when_it_has_committed(engine, another):
    engine.rows("vacuum analyze")
    other, instance = another(autocommit=False), uuid.uuid4()
    many_submitted(other, 3000)
    beat(engine, instance)
    assert counted(engine, "operations") == 0, "its pages are seen, its rows are not"
    other.rows("select pg_stat_force_next_flush()")
    other.connection.commit()
    wait_until(lambda: beat(engine, instance) and counted(engine, "operations") == 3000, 30, "it to be counted")


@pytest.mark.parametrize("before", (0, 20, 200))
def test_plans_change_with_tables_that_grow(another, before):
    """The server has counted tables with little or nothing in them that goes on; plans that begin with all of it are right, and must not stay when there is more."""
    engine = another()
    if before:
        steps(engine, before)
    engine.rows("vacuum analyze")
    steps(engine, 20)
    engine.rows("select set_config('kser.growth_looked_at', '', false)")
    beat(engine, uuid.uuid4())
    steps(engine, 2000)
    seen = watch_plans(engine)
    steps(engine, 100)
    plans = "".join(seen)
    assert plans.count("Index Scan") > 20, "no plans were seen"
    assert read_whole(engine, plans) <= {"operations_running"}


def test_updates_of_a_step_touch_no_index(engine):
    """Only then the new row version stays in its page (HOT)."""
    columns = engine.rows("""select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
        where i.indrelid = 'kser.tasks'::regclass""")
    assert {c["attname"] for c in columns} == {"operation_id", "position"}


def test_limits_are_those_of_the_programs(engine):
    header = (ROOT / "common" / "limits.h").read_text()
    numbers = {name: eval(value) for name, value in re.findall(r"#define (\w+) ([\d(][\d *()]*)", header)}
    for bound, name in (("message_bytes", "MESSAGE_BYTES_MAX"), ("json_depth", "JSON_DEPTH_MAX"), ("entrypoint_bytes", "ENTRYPOINT_BYTES_MAX"),
                        ("queue_bytes", "QUEUE_BYTES_MAX"), ("operation_tasks", "OPERATION_TASKS_MAX")):
        assert engine.value("select kser.bound(%s)", bound) == numbers[name]


def test_every_function_is_listed_and_has_a_comment():
    listed = (ROOT / "sql" / "order.txt").read_text().split()
    assert sorted(listed) == sorted(p.name for p in (ROOT / "sql").glob("*.sql"))
    for name in listed:
        assert (ROOT / "sql" / name).read_text().startswith("--"), name
