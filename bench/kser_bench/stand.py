"""What is measured: a database, a broker, the programs on them, and rounds of operations."""

import json
import os
import re
import time
from pathlib import Path

from kser_bench.broker_log import BrokerLog
from kser_bench.machine import cpu_seconds, cpu_seconds_of_thread, cpu_seconds_of_tree
from support.prometheus import get
from support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("KSER_BIN") or ROOT / "build" / "bench" / "bin")
NOOP = {"entrypoint": "noop"}
METRICS = ("--metrics-enabled", "--metrics-address", "127.0.0.1", "--metrics-port", 0)


class Stand:
    """`postgres` and `kafka` are None where servers were given; then what is theirs is not measured."""

    def __init__(self, options, postgres, kafka, database, processes):
        self.options, self.postgres, self.kafka, self.database, self.processes = options, postgres, kafka, database, processes
        self.connection = database.connect()
        self.brokers = options.brokers or kafka.brokers
        self.prefix = self.value("select topic_prefix from kser.meta") or f"bench{os.getpid()}"
        self.orchestrators, self.workers = [], []
        self.log = BrokerLog(kafka.directory / "data", {what: f"{self.prefix}.{what}" for what in ("tasks", "results")}) if kafka else None

    # --- the programs

    def start(self, lanes=None, orchestrators=1, workers=1, slots=None, metrics=True):
        """Seconds from the start of the programs until all are ready: (orchestrators, workers)."""
        return self.start_orchestrators(lanes, orchestrators, metrics), self.start_workers(workers, slots)

    def start_orchestrators(self, lanes=None, count=1, metrics=True):
        began = time.monotonic()
        self.orchestrators = [self.processes.start("kser-orchestrator", "--database", self.database, "--brokers", self.brokers, "--topic-prefix", self.prefix,
                                                   *self.lanes(lanes or self.options.lanes), *(METRICS if metrics else ())) for _ in range(count)]
        return self.until_ready(self.orchestrators, began)

    @staticmethod
    def lanes(number):
        """None: as it is by default, one that takes another one to help; else exactly so many."""
        return ("--lanes", number, "--lanes-max", number) if number else ()

    def start_workers(self, count=1, slots=None):
        began = time.monotonic()
        self.workers = [self.processes.start("kser-worker", "--brokers", self.brokers, "--topic-prefix", self.prefix, "--slots", slots or self.options.slots,
                                             "--plugin", BIN.parent / "lib" / "bench_noop.so") for _ in range(count)]
        return self.until_ready(self.workers, began)

    @staticmethod
    def until_ready(programs, began):
        for program in programs:
            wait_until(lambda: "message=ready" in program.text(), 60, program.name, pause=0.005)
        return time.monotonic() - began

    def stop_orchestrators(self):
        self.stop_all(self.orchestrators)
        self.orchestrators = []

    def stop(self):
        self.stop_orchestrators()
        self.stop_all(self.workers)
        self.workers = []

    @staticmethod
    def stop_all(programs):
        for program in programs:
            program.terminate()
        for program in programs:
            program.wait()

    def restart(self, **how):
        """Starts other programs in place of those that run, and gives them something to do until all have their partitions."""
        self.stop()
        self.start(**how)
        self.run_steps(500, 10)

    # --- rows

    def rows(self, statement, *parameters):
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement, *parameters):
        rows = self.rows(statement, *parameters)
        return rows[0][0] if rows else None

    def submit(self, operations, steps, held=False, task=NOOP):
        """In arrays of 1,000: the least id. Held: nothing runs before release()."""
        start_at = "'2999-01-01'" if held else "null"
        least = []
        for start in range(0, operations, 1000):
            least.append(self.value(f"""select id from kser.submit_many((select jsonb_agg(jsonb_build_object('name', 'bench', 'start_at', {start_at}, 'tasks', t.tasks))
                from generate_series(1, %s), (select jsonb_agg(%s::jsonb) as tasks from generate_series(1, %s)) as t)) as id order by id limit 1""",
                                    min(1000, operations - start), json.dumps(task), steps))
        return min(least)

    def release(self, first):
        self.rows("update kser.ready set due_at = now() where operation_id >= %s", first)
        self.rows("notify kser_ready")

    def wait_ended(self, first, seconds=600):
        """Until the operations from `first` on have ended. Looks for one that has not from the last one backwards: that costs nothing."""
        unfinished = "select 1 from kser.operations where id >= %s and finished_at is null order by id desc limit 1"
        wait_until(lambda: not self.rows(unfinished, first), seconds, "the operations to end", pause=0.05)

    def run_steps(self, operations, steps):
        """Submits and waits for the end: the least id."""
        first = self.submit(operations, steps)
        self.wait_ended(first)
        return first

    def clear(self):
        """Forgets what has run, so that rounds are alike."""
        self.rows("truncate kser.operations, kser.tasks, kser.history, kser.ready")
        self.rows("checkpoint")

    # --- what is counted

    def cpu(self):
        """Seconds used so far, by kind of process."""
        used = {"orchestrator": sum(cpu_seconds(program.pid) for program in self.orchestrators), "worker": sum(cpu_seconds(program.pid) for program in self.workers)}
        if self.postgres:
            used["postgres"] = cpu_seconds_of_tree(self.postgres.process.pid)
        if self.kafka:
            used["broker"] = cpu_seconds(self.broker_pid())
        return used

    def broker_pid(self):
        return int((self.kafka.directory / "pid").read_text())

    def compiler_seconds(self):
        """Of the broker's optimizing compiler; 0 for a broker that was given."""
        return cpu_seconds_of_thread(self.broker_pid(), "C2 CompilerThread0") if self.kafka else 0

    def counts(self):
        updates, hot = self.rows("select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relid = 'kser.tasks'::regclass")[0]
        return {"updates": updates, "hot": hot, "wal": float(self.value("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")),
                "commits": self.value("select xact_commit from pg_stat_database where datname = current_database()"), "cpu": self.cpu()}

    def batch_sizes(self):
        """{upper bound: count of all up to it} of the results that one statement dealt with, over all orchestrators."""
        counts = {}
        for program in self.orchestrators:
            port = wait_until(lambda: re.search(r'"serving metrics" address=127\.0\.0\.1 port=(\d+)', program.text()), 30, "the port of metrics")[1]
            for bound, count in re.findall(r'^kser_apply_batch_results_bucket\{le="([^"]+)"\} (\d+)$', get(port, "/metrics")[1], re.M):
                counts[bound] = counts.get(bound, 0) + int(count)
        return counts
