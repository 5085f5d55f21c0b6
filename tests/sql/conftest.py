"""The state machine without Kafka: a session that plays the orchestrator, and any number of others."""

import json
from pathlib import Path

import psycopg2
import psycopg2.extras
import pytest

# The settings of the engine's own connections, as the programs make them.
ENGINE = ("-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c enable_memoize=off"
          " -c jit=off -c lock_timeout=100ms")


PLAIN = (Path(__file__).resolve().parents[2] / "sql" / "statements" / "apply_plain.sql").read_text()
PLAIN_TYPES = "bigint, bigint, uuid[], integer[], uuid[], integer[], bigint[], integer[], integer[], text[], text[], text[], json[], json[]"


class Engine:
    """Calls the engine's functions as a lane does. Answers (reply records) are numbered by the caller."""

    def __init__(self, connection):
        self.connection = connection
        self.has_plain = False

    def rows(self, statement, *arguments):
        with self.connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(statement, arguments)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    def value(self, statement, *arguments):
        row = self.rows(statement, *arguments)
        return next(iter(row[0].values())) if row else None

    def submit(self, name="op", tasks=None, **options):
        names = {"params": "jsonb", "policy": "jsonb", "metadata": "jsonb", "key": "text", "priority": "integer", "queue": "text",
                 "start_at": "timestamptz", "deadline": "interval", "key_for": "interval"}
        if isinstance(tasks, int):
            tasks = [{"entrypoint": f"step{i}", "params": {"i": i}} for i in range(tasks)]
        given = [f"{n} => %s::{names[n]}" for n in options]
        values = [json.dumps(v) if names[n] == "jsonb" else v for n, v in options.items()]
        return self.value(f"select kser.submit({', '.join(['%s', 'tasks => %s::jsonb', *given])})", name, json.dumps(tasks) if tasks is not None else None, *values)

    def admit(self, places=100, queue=""):
        return self.rows("select * from kser.admit(%s, %s)", queue, [i % 12 for i in range(places)])

    def result(self, dispatch, answer, retcode=0, **others):
        """What apply is given for one dispatch."""
        return {"uuid": dispatch["uuid"], "operation": dispatch["operation_id"], "position": dispatch["position"], "attempt": dispatch["attempt"],
                "generation": dispatch["generation"], "epoch": dispatch["epoch"], "answer": answer, "retcode": retcode, "error": None, "stdout": None,
                "stderr": None, "retval": None, "total": None, "plan": None, "temporary": None, "worker": "w1", "bytes": 100, "target": 5, **others}

    def apply(self, *results, careful=False):
        def column(name, dump=False):
            return [json.dumps(r[name]) if dump and r[name] is not None else r[name] for r in results]

        return self.rows(
            "select * from kser.apply_results(%s::uuid[], %s::uuid[], %s, %s, %s::bigint[], %s::bigint[], %s::bigint[], %s, %s::text[], %s::text[], %s::text[],"
            " %s::json[], %s::json[], %s::jsonb[], %s::boolean[], %s::text[], %s, %s, %s)",
            column("uuid"), column("operation"), column("position"), column("attempt"), column("generation"), column("epoch"), column("answer"),
            column("retcode"), column("error"), column("stdout"), column("stderr"), column("retval", True), column("total", True), column("plan", True),
            column("temporary"), column("worker"), column("bytes"), column("target"), careful)

    def apply_plain(self, *results):
        """The statement for plain successes; results as of result(), sorted here."""
        if not self.has_plain:
            self.rows(f"prepare plain({PLAIN_TYPES}) as " + PLAIN)
            self.has_plain = True
        results = sorted(results, key=lambda r: (str(r["operation"]), r["position"]))

        def column(name, dump=False):
            values = [json.dumps(r[name]) if dump and r[name] is not None else r[name] for r in results]
            return values if any(value is not None for value in values) else None

        return self.rows(
            "execute plain(%s, %s, %s::uuid[], %s, %s::uuid[], %s, %s::bigint[], %s, %s, %s::text[], %s::text[], %s::text[], %s::json[], %s::json[])",
            results[0]["generation"] if results else 0, max((r["epoch"] for r in results), default=0), column("operation"), column("position"), column("uuid"), column("attempt"),
            column("answer"), column("bytes"), column("target"), column("worker"), column("stdout"), column("stderr"), column("retval", True), column("total", True))

    def beat(self, instance, joining=True, lease="4s", silence="8s"):
        return self.rows("select * from kser.beat(%s, 'host:1', '0', 1, false, %s, %s, %s)", instance, joining, lease, silence)[0]

    def name(self, dispatch, **others):
        """How a worker names an attempt."""
        return {"uuid": str(dispatch["uuid"]), "op": str(dispatch["operation_id"]), "pos": dispatch["position"], "attempt": dispatch["attempt"],
                "gen": dispatch["generation"], **others}

    def hold(self, worker, *dispatches, lease="8s"):
        """A claim or a heartbeat's names: (operation, position) of those that are to stop."""
        stops = self.rows("select * from kser.hold(%s, %s, %s)", worker, json.dumps([self.name(d) for d in dispatches]), lease)
        return [(row["operation_id"], row["position"]) for row in stops]

    def release(self, worker, *dispatches, reason="unstarted"):
        freed = self.rows("select * from kser.release(%s, %s)", worker, json.dumps([self.name(d, reason=reason) for d in dispatches]))
        return {row["queue"]: row["freed"] for row in freed}

    def expire(self, since="2000-01-01", lease="8s"):
        return self.rows("select * from kser.expire(clock_timestamp(), %s, %s)", since, lease)

    def counter(self, name):
        return self.value("select value from kser.counters where name = %s", name) or 0

    def kinds(self, operation):
        """What history says of an operation."""
        return [row["kind"] for row in self.rows("select kind from kser.history where operation_id = %s order by id", operation)]

    def stop(self, dispatch, error="Cancelled", retcode=499):
        """What cancelling a running task writes."""
        self.rows("update kser.tasks set mark = 1 where operation_id = %s and position = %s", dispatch["operation_id"], dispatch["position"])
        self.rows("insert into kser.stops values (%s, %s, %s, %s, '', clock_timestamp(), %s, %s, 'why')", dispatch["operation_id"], dispatch["position"],
                  dispatch["uuid"], dispatch["attempt"], error, retcode)

    def operation(self, operation):
        return self.rows("select * from kser.operations where id = %s", operation)[0]

    def tasks(self, operation):
        return self.rows("select * from kser.tasks where operation_id = %s order by position", operation)

    def statuses(self, operation):
        return [task["status"] for task in self.tasks(operation)]


@pytest.fixture
def engine(connect):
    return Engine(connect(options=ENGINE))


@pytest.fixture
def running(engine):
    """running(n): an operation of n tasks whose first is dispatched → (id, dispatch)."""

    def start(tasks=3, **options):
        operation = engine.submit("x", tasks, **options)
        return operation, next(d for d in engine.admit() if d["operation_id"] == operation)

    return start


@pytest.fixture
def another(connect):
    """another(autocommit): one more session of the engine's."""
    return lambda autocommit=True: Engine(connect(autocommit, options=ENGINE))


@pytest.fixture
def kept_snapshot(another):
    """A session that keeps a snapshot from now on: rows that are deleted or changed cannot be cleaned up."""
    holder = another(autocommit=False)
    holder.rows("set transaction isolation level repeatable read")
    holder.rows("select 1")
    return holder


@pytest.fixture
def user(connect):
    """user(autocommit): a session with the server's own settings."""
    return lambda autocommit=True: Engine(connect(autocommit))
