"""Where faults happen: servers, one database with its audit, a topic prefix, a fleet of real programs, and the ledgers."""

import secrets
from collections import Counter
from pathlib import Path

import psycopg2

from fault.ledgers import ClientLedger, TopicReader
from fault.proxy import Proxy
from support.cell import Cell, Ledger
from support.kafka import Kafka
from support.postgres import Postgres
from support.processes import Processes
from support.seal import KeyFile, seal
from support import waiting

HERE = Path(__file__).resolve().parent
LEASE = 8           # seconds after which a silent orchestrator's row and a silent worker's claims are gone
FLEET_SECONDS = 120 # a dead member of a consumer group is noticed after its session, a group settles a moment later


def wait_until(condition, seconds, what, pause=0.25):
    """As support.waiting's, at a pace that leaves the machine to those who are watched."""
    return waiting.wait_until(condition, seconds, what, pause)


class Servers:
    """PostgreSQL and Apache Kafka for a whole run."""

    def __init__(self):
        self.postgres = Postgres(track_commit_timestamp="on")
        self.kafka = Kafka()

    def start(self):
        if not self.postgres.running():
            self.postgres.start()
        if not self.kafka.running():
            self.kafka.start()

    def remove(self):
        self.postgres.remove()
        self.kafka.remove()


class Arena(Cell):
    """`postgres` may be another server than the shared one. `sealed`: there is a file of keys. Programs get KSER_FAULT by `fault=`; what was hit stands in faults()."""

    def __init__(self, servers, binaries, directory, postgres=None, sealed=False):
        directory.mkdir(parents=True)
        self.directory = directory
        self.postgres = postgres or servers.postgres
        processes = Processes(binaries, directory)
        super().__init__(self.postgres.create(), servers.kafka, f"f{secrets.token_hex(5)}", processes, Ledger(directory))
        migrated = processes.run("kser", "--database", self.database, "db", "migrate")
        assert migrated.returncode == 0, migrated.stderr
        self.database.query((HERE / "audit.sql").read_text())
        self.client = ClientLedger(directory / "client")
        self.executions = directory / "executions"
        self.fault_log = directory / "faults"
        self.commands = directory / "commands.ini"
        self.commands.write_text(f"[entrypoint ledger.command]\ncommand = {binaries}/ledger-command {self.executions} {{ms}}\nrequired = ms\n"
                                 "[entrypoint ledger.sleepers]\ncommand = sh -c 'sleep 987 & sleep 987'\n")
        self.keys = KeyFile(directory / "keys") if sealed else None
        if sealed:
            self.further["KSER_SECRETBOX_KEY_FILE"] = str(self.keys.path)
        self.reader = TopicReader(self.kafka, [self.topic(name) for name in ("tasks", "results", *(("control", "operations") if sealed else ()))], self.keys)
        self.orchestrators, self.workers, self.lanes = [], [], 1
        self.url = str(self.database)
        self.excused = set()  # pids of processes that may end as they did
        self.proxies = []
        self.session = None

    # The programs.

    def use_lanes(self, lanes):
        """From now on orchestrators have so many; those that run leave."""
        if lanes != self.lanes:
            for process in list(self.orchestrators):
                self.leave(process)
        self.lanes = lanes

    def begin(self, program, *arguments, fault=None, wrap=None, environment=None, name=None):
        further = {**self.environment, "KSER_DATABASE_URL": self.url, "KSER_FAULT_LOG": str(self.fault_log), **(environment or {})}
        if fault:
            further["KSER_FAULT"] = fault
        if program == "kser-worker":
            del further["KSER_DATABASE_URL"]
        return self.processes.start(program, *arguments, name=name, environment=further, wrap=wrap)

    def orchestrator(self, *arguments, **how):
        self.orchestrators.append(self.begin("kser-orchestrator", *arguments, **how))
        return self.orchestrators[-1]

    def worker(self, *arguments, **how):
        plugin = self.processes.binaries.parent / "lib" / "ledger.so"
        self.workers.append(self.begin("kser-worker", "--plugin", plugin, "--config", self.commands, "--slots", 16, *arguments, **how))
        return self.workers[-1]

    def write(self, name, texts):
        """Puts messages on a topic, sealed where the programs' are."""
        self.kafka.produce(self.topic(name), [seal(self.keys.keys[0], text) if self.keys else text for text in texts])

    def kill(self, process):
        self.excused.add(process.pid)
        process.kill()
        self.forget(process)

    def leave(self, process, seconds=40):
        """SIGTERM; its exit code."""
        code = process.stop(seconds)
        self.forget(process)
        return code

    def forget(self, process):
        for group in (self.orchestrators, self.workers):
            if process in group:
                group.remove(process)

    def forget_the_dead(self):
        for process in [*self.orchestrators, *self.workers]:
            if not process.running:
                self.forget(process)

    def fleet(self, orchestrators=2, workers=2):
        """Just so many of each, running, registered and sharing the partitions."""
        self.forget_the_dead()
        for group, wanted in ((self.orchestrators, orchestrators), (self.workers, workers)):
            for process in group[wanted:]:
                self.leave(process)
        while len(self.orchestrators) < orchestrators:
            self.orchestrator()
        if workers:
            wait_until(lambda: self.kafka.partitions(self.topic("tasks")) or None, FLEET_SECONDS, "the topics")
        while len(self.workers) < workers:
            self.worker()
        self.settle_fleet()

    def settle_fleet(self):
        orchestrators, workers = len(self.orchestrators), len(self.workers)
        beats = "select count(*) from kser.instances where beat_at > clock_timestamp() - interval '4 s'"
        wait_until(lambda: self.ask(beats) == orchestrators, FLEET_SECONDS, f"{orchestrators} orchestrators to register")
        wait_until(lambda: self.members("workers") == workers, FLEET_SECONDS, f"{workers} workers to join")

    def members(self, group):
        try:
            return self.kafka.members(f"{self.prefix}.{group}")
        except Exception:  # the client's own exception, when the coordinator is not there yet
            return None

    def ask(self, statement, *parameters):
        """One value; None also when the server does not answer just now."""
        try:
            rows = self.query(statement, *parameters)
        except psycopg2.Error:
            return None
        return rows[0][0] if rows else None

    def query(self, statement, *parameters):
        """The rows of one statement, on a session that is kept: what is asked again and again costs the server little."""
        self.session = self.session or self.database.connect()
        try:
            with self.session.cursor() as cursor:
                cursor.execute(statement, parameters or None)
                return cursor.fetchall()
        except psycopg2.Error:
            self.session.close()
            self.session = None
            raise

    def statuses(self, ids):
        try:
            rows = self.query("select status::text, count(*) from kser.operations where id = any (%s::uuid[]) group by status", list(ids))
        except psycopg2.Error:
            return Counter()
        return Counter(dict(rows))

    def proxy(self, seed=0):
        """A proxy before the database's server; url_through(proxy) is for programs."""
        self.proxies.append(Proxy(("127.0.0.1", self.postgres.port), seed))
        return self.proxies[-1]

    def url_through(self, proxy):
        return f"postgresql://postgres@127.0.0.1:{proxy.port}/{self.database.name}"

    # Tasks.

    def work(self, ms=0):
        return {"entrypoint": "ledger.work", "params": {"ledger": str(self.executions), "ms": ms}}

    def command(self, ms=0):
        return {"entrypoint": "ledger.command", "params": {"ms": str(ms)}}

    def broken(self, mended):
        """Fails until the file `mended` exists."""
        return {"entrypoint": "ledger.broken", "params": {"ledger": str(self.executions), "mended": str(mended)}}

    def crash(self, ms=0):
        return {"entrypoint": "ledger.crash", "params": {"ledger": str(self.executions), "ms": ms}}

    def three(self, random):
        """Three tasks of the steady load: one operation in eight has a task that is long enough to be claimed, one in five a command."""
        tasks = [self.work(random.choice((0, 0, 5, 20))) for _ in range(3)]
        draw = random.random()
        if draw < 0.12:
            tasks[random.randrange(3)] = self.work(random.randrange(2000, 5000))
        elif draw < 0.32:
            tasks[random.randrange(3)] = self.command(random.randrange(0, 100))
        return tasks

    # Evidence.

    def faults(self):
        """(point, action, pid) of each crash point that was hit, in order."""
        if not self.fault_log.exists():
            return []
        return [(point, action, int(pid)) for point, action, pid in (line.split() for line in self.fault_log.read_text().splitlines())]

    def ids(self, keys):
        """{operation: key} of the operations in the database with these keys."""
        return {id: key for id, key in self.database.query("select id::text, key from kser.operations where key = any (%s)", list(keys))}

    def memory_peaks(self):
        """The most resident memory that each running program ever had, in MB: {name: MB}."""
        peaks = {}
        for process in [*self.orchestrators, *self.workers]:
            peaks[process.name] = memory(process.pid, "VmHWM")
        return peaks

    def unexpected_ends(self):
        """Programs that ended otherwise than asked."""
        killed = {pid for _, action, pid in self.faults() if action == "kill"} | self.excused
        return [f"{process.name} ended with {process.returncode}, see {process.log}" for process in self.processes.started
                if process.returncode not in (None, 0) and process.pid not in killed]

    def close(self):
        """Ends what runs; texts of what was wrong with that."""
        for proxy in self.proxies:
            proxy.mode = "pass"
        killed = {pid for _, action, pid in self.faults() if action == "kill"} | self.excused
        for process in self.processes.started:
            process.killed = process.killed or process.pid in killed
        wrong = self.processes.end_all()
        for proxy in self.proxies:
            proxy.close()
        if self.session:
            self.session.close()
        return wrong


def memory(pid, field="VmRSS"):
    """Of a process, in MB; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) // 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0
