"""One schedule: a small world drawn from a seed, some dozens of steps with faults between them, then fair running until
all is quiet, then the checker."""

import json
import random

from simulation.broker import Record
from simulation.checker import check, check_purge
from simulation.orchestrator import Process
from simulation.worker import Worker
from simulation.world import SILENCE, Violation, World

# What may happen in a step, and how often. Each schedule scales the weights at random, so that some see much of one
# thing and nothing of another.
STEPS = {
    "time": 14, "beat": 5, "admit": 9, "lane": 22, "deliver": 14, "acknowledge": 10, "lane_commit": 6, "round": 8, "whole_round": 5, "publish": 2, "spare": 1,
    "poll": 12, "start": 9, "finish": 9, "worker_commit": 7, "listen": 3, "heartbeat": 1, "stall": 3,
    "worker_turn": 10, "lane_turn": 10, "keeper_turn": 8,
}
FAULTS = {
    "crash_orchestrator": 3, "stall_orchestrator": 2, "crash_worker": 3, "freeze_worker": 2, "cut_off_worker": 2, "rebalance_workers": 3, "drain_worker": 1.5,
    "rebalance_lanes": 2, "cut_off_lane": 2, "lose_record": 4, "repeat_record": 4, "forge_reply": 3, "broker_away": 1, "new_generation": 0.6, "restore": 3,
    "stranger_commits": 0.7, "reset_back": 0.7, "retention": 0.5, "make_topic_anew": 0.4, "flush_frozen": 0.5, "leave_orchestrator": 0.7, "join_orchestrator": 1,
    "join_worker": 1, "foreign_epoch": 0.15, "lose_claim": 1, "stale_hint": 1,
}
# What half of the schedules have, and what a theme changes: how many faults, weights of some steps, what is held up.
ANYTHING = {"steps": (30, 200), "processes": 3, "operations": (1, 4), "tasks": (1, 4), "faults": (0, 0.1, 0.3, 0.6, 1), "verbs": 0.6, "weights": {}, "stalls": (), "stalls_at_once": 0,
            "finish": (0.1, 0.3, 0.7), "broken_rounds": (0, 0, 0.2), "restores": 0.12}
THEMES = {
    "proof": {"steps": (60, 300), "processes": 2, "tasks": (2, 6), "faults": (0, 0, 0.1), "verbs": 0.1,
              "weights": {"whole_round": 18, "round": 14, "worker_turn": 18, "time": 20, "stall": 6, "crash_orchestrator": 0.7, "publish": 0},
              "stalls": ("deliver_dispatches", "deliver_dispatches", "admit", "admit", "lane", "start", "start", "poll", "acknowledge"), "stalls_at_once": 2, "finish": (0.3, 0.7)},
    "handing_over": {"steps": (60, 300), "processes": 3, "operations": (1, 2), "tasks": (3, 8), "faults": (0, 0, 0.1), "verbs": 0.1,
                     "weights": {"whole_round": 25, "time": 20, "stall": 5, "stall_orchestrator": 4, "crash_orchestrator": 0.5, "publish": 0, "worker_turn": 12, "lane": 20, "lane_turn": 4},
                     "stalls": ("poll", "poll", "lane"), "stalls_at_once": 0, "finish": (0.7,), "broken_rounds": (0.6,)},
    "claims": {"steps": (60, 300), "processes": 2, "faults": (0, 0.1, 0.3), "verbs": 0.2,
               "weights": {"whole_round": 16, "time": 25, "stall": 5, "lose_claim": 4, "crash_worker": 1, "freeze_worker": 1, "worker_turn": 16, "finish": 3, "lane_turn": 16},
               "stalls": ("lane", "lane", "worker_commit"), "finish": (0.01, 0.05)},
    "replies": {"faults": (0.1, 0.3, 0.6), "weights": {"forge_reply": 9, "repeat_record": 6, "crash_orchestrator": 3, "cut_off_lane": 3, "stale_hint": 2},
                "stalls": ("lane", "lane_commit", "deliver_dispatches"), "finish": (0.5, 0.9)},
    "steering": {"faults": (0, 0.1, 0.3), "weights": {"pause": 9, "resume": 9, "cancel": 3, "retry": 9, "stale_hint": 3, "new_generation": 2}, "stalls": ("lane", "admit"),
                 "finish": (0.3, 0.7)},
    "restores": {"faults": (0.1, 0.3), "weights": {"restore": 5, "keeper_turn": 12, "lane_turn": 14, "worker_turn": 14}, "stalls": ("lane", "finish"), "finish": (0.3, 0.9),
                 "restores": 1},
}
VERBS = {"pause": 3, "resume": 3, "cancel": 2, "retry": 3, "submit": 1}

POLICIES = (
    None, None, None, {"max_attempts": 3, "delay": "1s"}, {"max_attempts": 2, "delay": "500ms", "backoff": "fixed"}, {"timeout": "3s"},
    {"timeout": "2s", "max_attempts": 2, "delay": "1s"}, {"on_silence": "stop"}, {"max_attempts": 0, "budget": "20s", "delay": "1s"},
    {"start_within": "6s"}, {"max_attempts": 5, "delay": "1s", "no_retry_on": [504]},
)


class Schedule:
    def __init__(self, session, seed, switches=(), theme=None, trace=False):
        self.rng = random.Random(seed)
        self.settings = {**ANYTHING, **THEMES.get(theme or self.rng.choice((None,) * len(THEMES) + tuple(THEMES)), {})}
        self.session = session
        self.world = World(self.rng, session, switches, trace)
        self.session.start(seed, self.world.now)
        self.step_number = 0
        self.stalls = {}       # (what, whom) → until which step
        self.broker_back = 0
        self.names = 0

    def run(self):
        """Raises Violation."""
        try:
            self.set_up()
            for self.step_number in range(self.rng.randint(*self.settings["steps"])):
                self.step()
            self.recover()
            check(self.world)
            check_purge(self.world)
            self.clean()
        except Violation:
            self.session.abandon()
            raise

    # --- The world

    def set_up(self, queues=None, **options):
        rng, world = self.rng, self.world
        world.make_topics(queues or (["", "b"] if rng.random() < 0.3 else [""]), rng.randint(1, 3), rng.randint(1, 2))
        world.failure_rate = rng.choice((0, 0.1, 0.3))
        world.plan_rate = rng.choice((0, 0.1, 0.4))
        world.plans_left = 3
        world.hang_rate = rng.choice((0, 0.5))
        self.finish_chance = rng.choice(self.settings["finish"])
        world.unknown_rate = rng.choice((0, 0, 0.1, 0.3))
        world.broken_round_rate = rng.choice(self.settings["broken_rounds"])
        self.window = rng.choice((1, 2, 3, 2000))
        self.session.look("insert into kser.queues (name, window_size) select unnest(%s::text[]), %s on conflict (name) do update set window_size = excluded.window_size returning 1",
                          world.queues, self.window)
        for _ in range(rng.randint(*self.settings["operations"])):
            self.submit(**options)
        world.generation = self.session.look("select generation from kser.meta")[0][0]
        self.restores = rng.random() < self.settings["restores"]
        if self.restores:
            self.session.begin()
        for _ in range(rng.randint(1, self.settings["processes"])):
            self.join_orchestrator()
        for queue in world.queues:
            for _ in range(rng.randint(1, 3)):
                world.workers.append(Worker(world, len(world.workers) + 1, queue))
        for group in (world.orchestrators, *world.worker_groups.values()):
            group.assign(rng)
        self.choose_weights()

    def choose_weights(self):
        rng = self.rng
        settings = self.settings
        weights = {name: weight * rng.choice((0.4, 1, 1, 2)) for name, weight in STEPS.items()}
        weights.update({name: weight * rng.choice(settings["faults"]) * rng.choice((0, 0, 1, 3)) for name, weight in FAULTS.items()})
        if rng.random() < settings["verbs"]:
            weights.update({name: weight * rng.choice((0, 1, 1, 2)) for name, weight in VERBS.items()})
        weights.update(settings["weights"])
        if not self.restores:
            weights["restore"] = 0
        self.held_up = settings["stalls"] or tuple(self.STALLS)
        for _ in range(settings["stalls_at_once"]):
            self.stall()
        self.actions = [name for name, weight in weights.items() if weight]
        self.weights = [weights[name] for name in self.actions]

    def submit(self, **options):
        rng, world = self.rng, self.world
        self.names += 1
        tasks = [{"entrypoint": f"step{i}", "queue": rng.choice(world.queues)} for i in range(rng.randint(*self.settings["tasks"]))]
        if rng.random() < 0.6:
            del tasks[0]["queue"]
            tasks = [{"entrypoint": task["entrypoint"]} for task in tasks]
        policy = options["policy"] if "policy" in options else rng.choice(POLICIES)
        submission = {"name": f"op{self.names}", "tasks": tasks, "priority": rng.choice((0, 0, 1)), "queue": rng.choice(world.queues), "policy": policy,
                      "deadline": rng.choice((None, None, None, None, "25s"))}
        (operation,), = world.call("submit", "select kser.submit_many(%s::jsonb)", json.dumps([{k: v for k, v in submission.items() if v is not None}]))
        world.submitted[operation] = world.tick()
        world.tell("submit %s with %s tasks, policy %s", operation[-4:], len(tasks), policy)

    # --- Steps

    def step(self):
        name = self.rng.choices(self.actions, self.weights)[0]
        getattr(self, name)()

    def one(self, actors, what=None):
        """One of those who live and are not stalled; None: nobody."""
        able = [actor for actor in actors if self.can(what, actor)]
        return self.rng.choice(able) if able else None

    def can(self, what, actor):
        return self.stalls.get((what, actor.name), 0) <= self.step_number

    def running_processes(self):
        return [process for process in self.world.processes if process.alive and not process.stalled]

    def running_workers(self):
        return [worker for worker in self.world.workers if worker.alive and not worker.frozen]

    def producers(self):
        """Who can reach the broker. What a removed orchestrator has not sent never arrives."""
        if self.broker_back > self.step_number:
            return []
        producers = [p for process in self.running_processes() if process.registered for p in process.producers()] + [w.producer for w in self.running_workers()]
        return [producer for producer in producers if not producer.idle()]

    def time(self):
        self.pass_time(self.rng.choice((0.2, 0.5, 1.0, 1.0, 2.0, 2.0, 2.5)))

    def pass_time(self, seconds):
        world = self.world
        if self.broker_back <= self.step_number:
            for worker in self.running_workers():
                worker.claim_long_ones(world.now + seconds)
                if worker.beats_due(world.now + seconds):
                    worker.heartbeat()
                    worker.producer.flush()
        world.now += seconds
        self.session.set_clock(world.now)
        for worker in self.running_workers():
            worker.obey_silence()
        for process in self.running_processes():
            if world.now - process.beat_at > 1.9 and self.can("beat", process):
                process.beat()

    def beat(self):
        process = self.one(self.running_processes(), "beat")
        if process:
            process.beat()

    def admit(self):
        process = self.one([p for p in self.running_processes() if p.joined])
        if process and self.can("admit", process.keeper):
            process.keeper.step()

    def lane(self):
        lane = self.one([lane for p in self.running_processes() if p.joined for lane in p.lanes if lane.has_work()], "lane")
        if lane:
            for _ in range(self.rng.choice((1, 1, 2, 4))):
                lane.step()

    def deliver(self):
        producer = self.one(self.producers(), "deliver")
        if producer:
            for _ in range(self.rng.choice((1, 2, 9))):
                producer.deliver(self.rng)

    def acknowledge(self):
        producer = self.one(self.producers(), "acknowledge")
        if producer:
            producer.acknowledge()

    def lane_commit(self):
        lane = self.one([lane for p in self.running_processes() for lane in p.lanes], "lane_commit")
        if lane:
            lane.commit()

    def round(self):
        process = self.one([p for p in self.running_processes() if p.role], "round")
        if process:
            process.rounds.step()

    def whole_round(self):
        """A round to its end, as far as the lanes that are not held up let it."""
        process = self.one([p for p in self.running_processes() if p.role], "round")
        if process and self.rng.random() < 0.3:
            for _ in range(self.rng.randint(1, 6)):  # something comes between
                process.rounds.step()
        elif process:
            process.rounds.run()
            if process.rounds.stage is not None:
                for lane in self.lanes_at_work():
                    self.turn_of_lane(lane)
                process.rounds.run()

    def lanes_at_work(self):
        return [lane for p in self.running_processes() if p.joined for lane in p.lanes if self.can("lane", lane)]

    def publish(self):
        process = self.one(self.running_processes())
        if process:
            process.publish()

    def spare(self):
        process = self.one(self.running_processes())
        if process:
            process.spare()

    def poll(self):
        worker = self.one(self.running_workers(), "poll")
        if worker:
            for _ in range(self.rng.choice((1, 3))):
                worker.poll()

    def start(self):
        worker = self.one(self.running_workers(), "start")
        if worker:
            worker.start()

    def finish(self):
        worker = self.one(self.running_workers(), "finish")
        if worker:
            worker.finish_some(self.finish_chance)
            worker.left()

    def worker_commit(self):
        worker = self.one(self.running_workers(), "worker_commit")
        if worker:
            worker.commit()

    def listen(self):
        worker = self.one(self.running_workers())
        if worker:
            worker.listen()

    def heartbeat(self):
        worker = self.one(self.running_workers(), "heartbeat")
        if worker:
            worker.heartbeat()

    def worker_turn(self):
        """All that a worker would do in a moment."""
        worker = self.one(self.running_workers())
        if worker and self.broker_back <= self.step_number:
            for what, act in (("poll", worker.poll), ("start", worker.start), ("deliver", worker.producer.flush), ("start", worker.start),
                              ("finish", lambda: worker.finish_some(self.finish_chance)), ("deliver", worker.producer.flush), ("worker_commit", worker.commit)):
                if self.can(what, worker):
                    act()
            worker.left()

    def lane_turn(self):
        lane = self.one([lane for lane in self.lanes_at_work() if lane.has_work()])
        if lane:
            self.turn_of_lane(lane)

    def turn_of_lane(self, lane):
        for _ in range(12):
            if lane.has_work():
                lane.step()
        self.hand_over(lane)
        if self.can("lane_commit", lane):
            lane.commit()

    def keeper_turn(self):
        process = self.one([p for p in self.running_processes() if p.joined])
        if process and self.can("admit", process.keeper):
            for _ in range(3):
                process.keeper.step()
            self.hand_over(process.keeper)

    def hand_over(self, thread):
        if self.broker_back <= self.step_number and thread.process.registered and self.can("deliver", thread):
            thread.producer.flush()

    def stall(self):
        """One thing of one actor does not get its turn for a while."""
        what = self.rng.choice(self.held_up)
        actors = self.STALLS[what](self.world)
        self.stalls[("deliver" if what.startswith("deliver") else what, self.rng.choice(actors).name)] = self.step_number + self.rng.randint(10, 100)

    STALLS = {
        "beat": lambda world: world.processes,
        "round": lambda world: world.processes,
        "admit": lambda world: [process.keeper for process in world.processes],
        "lane": lambda world: [lane for process in world.processes for lane in process.lanes],
        "lane_commit": lambda world: [lane for process in world.processes for lane in process.lanes],
        "deliver_dispatches": lambda world: [producer for process in world.processes for producer in process.producers()],
        "deliver_replies": lambda world: [worker.producer for worker in world.workers],
        "acknowledge": lambda world: [producer for process in world.processes for producer in process.producers()],
        "poll": lambda world: world.workers, "start": lambda world: world.workers,
        "finish": lambda world: world.workers, "worker_commit": lambda world: world.workers,
    }

    # --- Faults: processes

    def fault(self, name):
        self.world.saw(f"fault_{name}")
        self.world.tell("FAULT %s", name)

    def crash_orchestrator(self):
        process = self.one([p for p in self.world.processes if p.alive])
        if process:
            self.fault("crash_orchestrator")
            process.crash()
            if self.rng.random() < 0.7 or not any(p.alive for p in self.world.processes):
                self.join_orchestrator()
            self.rebalance(self.world.orchestrators)

    def join_orchestrator(self):
        world = self.world
        if sum(p.alive for p in world.processes) < 4:
            world.processes.append(Process(world, len(world.processes) + 1, self.rng.randint(1, 2)))

    def leave_orchestrator(self):
        alive = [p for p in self.running_processes() if p.joined]
        if len(alive) > 1:
            self.fault("leave_orchestrator")
            self.rng.choice(alive).leave()
            self.rebalance(self.world.orchestrators)

    def stall_orchestrator(self):
        process = self.one([p for p in self.world.processes if p.alive])
        if process:
            if not process.stalled:
                self.fault("stall_orchestrator")
            process.stalled = not process.stalled
            if process.stalled and self.rng.random() < 0.3:
                self.pass_time(SILENCE + 0.5)

    def flush_frozen(self):
        """An orchestrator that was removed wakes and sends what it had decided long before."""
        for process in self.world.processes:
            if process.alive and process.joined and not process.registered:
                for producer in process.producers():
                    for record in producer.records():
                        if record.kind == "task":
                            self.fault("flush_frozen")
                            record.launch.reset = True
                    producer.flush()

    def crash_worker(self):
        worker = self.one([w for w in self.world.workers if w.alive])
        if worker:
            self.fault("crash_worker")
            worker.crash()
            if self.rng.random() < 0.7:
                self.join_worker(worker.queue)
            self.rebalance(worker.group)

    def join_worker(self, queue=None):
        world = self.world
        queue = self.rng.choice(world.queues) if queue is None else queue
        if len(world.worker_groups[queue].members) < 4:
            world.workers.append(Worker(world, len(world.workers) + 1, queue))
            self.rebalance(world.worker_groups[queue])

    def freeze_worker(self):
        worker = self.one([w for w in self.world.workers if w.alive])
        if worker:
            if not worker.frozen:
                self.fault("freeze_worker")
            worker.frozen = not worker.frozen
            if worker.frozen and self.rng.random() < 0.5:
                self.rebalance(worker.group)
            if worker.frozen and self.rng.random() < 0.4:
                self.pass_time(5)
                self.pass_time(4)

    def cut_off_worker(self):
        worker = self.one([w for w in self.world.workers if w.alive])
        if worker:
            self.fault("cut_off_worker")
            worker.cut_off()
            self.rebalance(worker.group)

    def rebalance_workers(self):
        self.world.saw("fault_rebalance")
        self.rebalance(self.rng.choice(list(self.world.worker_groups.values())))

    def drain_worker(self):
        workers = self.running_workers()
        worker = self.rng.choice(workers) if len(workers) > 1 else None
        if worker and not worker.draining:
            self.fault("drain_worker")
            worker.drain()

    def rebalance_lanes(self):
        self.world.saw("fault_rebalance")
        self.rebalance(self.world.orchestrators)

    def cut_off_lane(self):
        lane = self.one([lane for p in self.running_processes() for lane in p.lanes])
        if lane:
            self.fault("cut_off_lane")
            lane.cut_off()
            self.rebalance(self.world.orchestrators)

    def rebalance(self, group):
        for member in group.members:
            member.revoked()
        group.assign(self.rng)

    # --- Faults: the broker

    def logs(self):
        return [log for logs in self.world.tasks.values() for log in logs] + self.world.results

    def some_record(self, kinds, fresh=False):
        """A record; `fresh`: most likely one that nobody has passed yet."""
        found = [r for log in self.logs() for r in log.records if r.kind in kinds and not r.vanished and not r.forged]
        if fresh and self.rng.random() < 0.8:
            found = [r for r in found if r.offset >= self.passed(r)] or found
        return self.rng.choice(found) if found else None

    def passed(self, record):
        group = self.world.worker_groups[record.launch.queue] if record.kind == "task" else self.world.orchestrators
        return group.position(record.log.number)

    def lose_record(self):
        record = self.some_record(("task", "result", "claim", "heartbeat", "release"), True)
        if record:
            self.fault("lose_record")
            self.world.tell("lost: %s", record)
            record.vanished = True

    def lose_claim(self):
        record = self.some_record(("claim",), True)
        if record:
            self.fault("lose_claim")
            self.world.tell("lost: %s", record)
            record.vanished = True

    def repeat_record(self):
        record = self.some_record(("task", "result", "result", "claim", "heartbeat", "release"))
        if record:
            self.fault("repeat_record")
            copy = record.copy()
            copy.repeated = True
            logs = self.world.tasks[record.launch.queue] if record.kind == "task" else self.world.results
            self.rng.choice(logs).append(copy, self.world.now)
            if not copy.forged:
                self.world.logged(copy)

    def forge_reply(self):
        """A reply that answers nothing: of another task, attempt or generation. Some come before the true answer, some after it."""
        record = self.some_record(self.rng.choice((("result",), ("task",))), True)
        if record:
            self.fault("forge_reply")
            stamp = record.body
            self.append_forged(record, self.rng.choice((
                {"uuid": f"00000000-0000-4000-9000-{self.rng.getrandbits(48):012x}"}, {"attempt": stamp["attempt"] + 50}, {"gen": stamp["gen"] ^ 1},
                {"attempt": stamp["attempt"] - 1}, {"op": "00000000-0000-7000-8000-000000000000"}, {"pos": stamp["pos"] + 50})))

    def foreign_epoch(self):
        record = self.some_record(("result", "task"), True)
        if record:
            self.fault("foreign_epoch")
            self.append_forged(record, {"epoch": record.body["epoch"] + 1000000})

    def append_forged(self, record, changes):
        body = {"retcode": 0, "error": None, "retval": {"x": 0}, "worker": "nobody", **record.body, **changes}
        forged = Record("result", body, record.launch)
        forged.forged = True
        self.rng.choice(self.world.results).append(forged, self.world.now)

    def broker_away(self):
        self.fault("broker_away")
        self.broker_back = self.step_number + self.rng.randint(5, 40)

    def some_partition(self):
        queue = self.rng.choice(self.world.queues)
        group = self.world.worker_groups[queue]
        return group, self.rng.randrange(len(group.logs))

    def stranger_commits(self):
        """Somebody else in the workers' group commits before the work, without our mark."""
        group, partition = self.some_partition()
        log = group.logs[partition]
        begin = group.position(partition)
        if log.end > begin:
            self.fault("stranger_commits")
            end = self.rng.randint(begin + 1, log.end)
            for record in log.records[begin:end]:
                record.launch.reset = True
            group.committed[partition], group.marked[partition] = end, False

    def reset_back(self):
        """An operator sets the group's offset back."""
        group, partition = self.some_partition()
        end = group.committed[partition]
        if end:
            self.fault("reset_back")
            begin = self.rng.randint(0, end - 1)
            for record in group.logs[partition].records[begin:end]:
                self.world.explain(record.launch)
            group.committed[partition], group.marked[partition] = begin, False
            for member in group.members:
                member.cut_off()
            group.assign(self.rng)

    def retention(self):
        """The broker deletes the oldest records, whether they were read or not."""
        log = self.rng.choice(self.logs())
        if log.end > log.start:
            self.fault("retention")
            log.start = self.rng.randint(log.start + 1, log.end)
            for record in log.records[:log.start]:
                record.vanished = True

    def make_topic_anew(self):
        group, partition = self.some_partition()
        if group.logs[partition].end:
            self.fault("make_topic_anew")
            for member in group.members:
                member.cut_off()
            old = group.logs[partition]
            for record in old.records:
                record.vanished = True
            old.records, old.start = [], 0
            if self.rng.random() < 0.5:
                group.committed[partition] = None
            group.assign(self.rng)

    # --- Faults: the database

    def new_generation(self, event="new_generation"):
        self.fault(event)
        self.world.call("new_generation", "select kser.new_generation('simulation')")
        self.world.new_generation()

    def stale_hint(self):
        """`ready` is a hint: a row that was there once, or is there already, is there once more."""
        self.fault("stale_hint")
        self.session.look("insert into kser.ready (select queue, priority, due_at, operation_id, position, attempt, started from kser.ready limit 2) union all"
                          " (select k.queue, o.priority, o.created_at, o.id, k.position, k.attempt - 1, true from kser.operations o join kser.tasks k on k.operation_id = o.id"
                          " where o.id = any (%s::uuid[]) and k.status = 'RUNNING' limit 2) returning 1", list(self.world.submitted))

    def restore(self):
        """The database is set back to its state before anything was started; the logs keep what they have."""
        world = self.world
        self.fault("restore")
        self.session.back_to_start()
        world.set_back()
        for process in world.processes:
            process.registered = False
            process.reconnect()
        way = self.rng.choice(("told", "identity", "silent"))
        if way == "told":
            self.new_generation("restore_told")
        elif way == "identity":
            self.fault("restore_noticed")
            self.session.look("update kser.meta set timeline = timeline + 1000 returning 1")
            if not world.call("check_identity", "select kser.check_identity()")[0][0]:
                world.violation("a server with another timeline was taken for the same")
            world.new_generation()
        else:
            world.silent = True

    # --- The operator

    def verb(self, name, statement, *arguments):
        operation = self.rng.choice(list(self.world.submitted))
        rows = self.world.call(name, statement, operation, *arguments, refused=("55000", "P0002"))
        answer = rows[0][0] if rows else None
        self.world.tell("%s %s: %s", name, operation[-4:], answer)
        if answer:
            self.world.saw(f"{name}_{answer}")
            self.world.steered(name, operation, answer)

    def pause(self):
        self.verb("pause", "select kser.pause(%s::uuid, 'simulation')")

    def resume(self):
        self.verb("resume", "select kser.resume(%s::uuid, 'simulation')")

    def cancel(self):
        self.verb("cancel", "select kser.cancel(%s::uuid, 'simulation')")

    def retry(self):
        self.verb("retry", "select kser.retry(%s::uuid, 'simulation', force => %s)", self.rng.random() < 0.3)

    # --- After the faults

    def recover(self):
        """Nothing fails any more; everybody gets a turn until nothing is left to do. What is paused stays so until the rest
        has ended, for it must not be in its way."""
        self.mend()
        world = self.world
        self.run_until(lambda: not self.unfinished("not held"), "operations that nobody holds have not ended")
        for operation in self.unfinished("held"):
            if world.call("resume", "select kser.resume(%s::uuid, 'end of the simulation')", operation, refused=("55000",)):
                world.steered("resume", operation, "resumed")
        self.run_until(lambda: not self.unfinished("true"), "operations have not ended")
        self.settle()

    def unfinished(self, condition):
        return [row[0] for row in self.session.look(f"select id from kser.operations where id = any (%s::uuid[]) and finished_at is null and {condition}",
                                                    list(self.world.submitted))]

    def mend(self):
        world = self.world
        world.tell("--- the faults stop")
        self.stalls.clear()
        self.broker_back = 0
        world.unknown_rate = world.broken_round_rate = 0
        world.hang_rate = 0
        world.failure_rate = min(world.failure_rate, 0.1)
        if world.silent:
            self.new_generation("restore_told_late")
        for worker in world.workers:
            worker.frozen = False
            worker.told_at = max(worker.told_at, world.now - 7)
        for process in world.processes:
            process.stalled = False
        if not any(process.alive for process in world.processes):
            self.join_orchestrator()
        for queue in world.queues:
            if not any(w.alive and not w.draining for w in world.workers if w.queue == queue):
                world.workers.append(Worker(world, len(world.workers) + 1, queue))
        for group in (world.orchestrators, *world.worker_groups.values()):
            self.rebalance(group)
            # The operator's part: what a stranger committed is committed anew, and so is what is beyond the end of a new log.
            group.marked = [True] * len(group.logs)
            group.committed = [offset if offset is None or offset <= log.end else log.start for offset, log in zip(group.committed, group.logs)]

    def run_until(self, condition, complaint):
        for turn in range(150):
            self.turn(2.0 if turn < 40 else 4.0)
            if condition():
                return
        self.world.violation(f"{complaint}: {self.stuck()}")

    def stuck(self):
        return self.session.look("select o.id, o.status, o.held, t.position, t.status, t.attempt, t.epoch, t.partition, exists (select from kser.claims c where c.operation_id = o.id),"
                                 " exists (select from kser.ready r where r.operation_id = o.id), (select passed from kser.proofs p where p.queue = t.queue),"
                                 " (select problems from kser.proofs p where p.queue = t.queue) from kser.operations o"
                                 " join kser.tasks t on t.operation_id = o.id where o.id = any (%s::uuid[]) and o.finished_at is null and t.status <> 'SUCCESS'", list(self.world.submitted))

    def turn(self, seconds):
        """Time passes, then everybody gets as many turns as have an effect."""
        self.pass_time(seconds)
        if self.world.halted:
            self.new_generation("new_generation_after_halt")
        for process in self.running_processes():
            process.publish()
        look = True
        while True:
            before = self.world.activity
            for worker in list(self.running_workers()):
                self.turn_of_worker(worker)
            for process in self.running_processes():
                if process.joined:
                    self.turn_of_process(process, look)
            look = False
            if self.world.activity == before:
                break
        for process in self.running_processes():
            process.rounds.run()

    def turn_of_worker(self, worker):
        worker.listen()
        while worker.poll():
            pass
        for _ in range(2):  # what is claimed before its start starts at the second look
            worker.producer.flush()
            worker.start()
        worker.finish_some(0.7)
        worker.producer.flush()
        worker.commit()
        if worker.left():
            self.rebalance(worker.group)

    def turn_of_process(self, process, look):
        for lane in process.lanes:
            while lane.has_work():
                lane.step()
            lane.producer.flush()
            lane.commit()
        process.keeper.turn(look)
        process.keeper.producer.flush()

    def settle(self):
        """All has ended: late answers arrive, hints are cleared away. The last round goes on although nothing is under way."""
        for seconds in (3, 70, 3):
            self.turn(seconds)
        for _ in range(100):  # an admission drops no more hints than it had places for
            if self.session.look("select not exists (select from kser.ready)")[0][0]:
                break
            for process in self.running_processes():
                process.keeper.turn(True)
        for process in self.running_processes():
            process.in_flight = True
            process.rounds.begun_at = -99
            process.rounds.run()

    def clean(self):
        """What the next schedule must not meet: its topics are others."""
        self.session.commit()
        self.session.cursor.execute("delete from kser.instances; delete from kser.samples; delete from kser.proofs; delete from kser.workers; delete from kser.ended_operations; delete from sim.changes")
