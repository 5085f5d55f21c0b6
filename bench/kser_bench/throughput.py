"""S1, and S5 loaded and S10 in the same rounds: chained no-op steps; the bare loops between them."""

import statistics

from kser_bench.bare import kafka_echo, postgres_steps_per_s
from kser_bench.figures import buckets_between, medians, say, spread
from kser_bench.machine import pss_mb
from kser_bench.rounds import cpu_of, run_round

IN_FLIGHT = 1000  # of the echo: kser's window is 2,000, at most


def throughput(stand, quick):
    operations, count = (5000, 3) if quick else (10000, 5)
    rounds, bare, echoes = [], [], []
    sizes = stand.batch_sizes()
    for number in range(count):
        stand.clear()
        bare.append(postgres_steps_per_s(stand))
        echoes.append(kafka_echo(stand, IN_FLIGHT, 1 if quick else 2)["round_trips_per_s"])
        rounds.append({**run_round(stand, operations), "kept": kept_bytes(stand)})
        say(f"S1: round {number + 1} of {count}: {rounds[-1]['rate']:,} steps/s, bare Postgres {bare[-1]:,}, bare Kafka {echoes[-1]:,}")
    return {**rates(rounds, bare, echoes), **batches(sizes, stand.batch_sizes()), **requests(rounds), **costs(rounds),
            "S5.orchestrator_mb_loaded": round(pss_mb(stand.orchestrators[0].pid), 1), "S5.worker_mb_loaded": round(pss_mb(stand.workers[0].pid), 1)}


def kept_bytes(stand):
    """What the operations and their tasks take in the database, with their indexes."""
    return stand.value("select pg_total_relation_size('kser.tasks') + pg_total_relation_size('kser.operations')")


def rates(rounds, bare, echoes):
    own = [one["rate"] for one in rounds]
    return {**spread("S1.steps_per_s", own, 0), **spread("S1.bare_postgres_steps_per_s", bare, 0), **spread("S1.bare_kafka_round_trips_per_s", echoes, 0),
            **spread("S1.ratio_to_bare", [rate / loop for rate, loop in zip(own, bare)], 3),
            **spread("S1.ratio_to_bare_kafka", [rate / echo for rate, echo in zip(own, echoes)], 3)}


def batches(before, after):
    """How many statements dealt with up to so many results."""
    between = buckets_between(before, after)
    return {"S1.batches_up_to": between} if between else {}


def requests(rounds):
    """Records the broker was given with one request, and their bytes in its log; only of a broker of our own."""
    figures = {"S1.records_per_request": {}, "S10.kafka_bytes_per_step": {}}
    for what in rounds[0]["log"]:
        figures["S1.records_per_request"][what] = round(statistics.median(records / max(1, count) for records, count, _ in (one["log"][what] for one in rounds)), 1)
        figures["S10.kafka_bytes_per_step"][what] = round(statistics.median(one["log"][what][2] / one["steps"] for one in rounds))
    return {key: value for key, value in figures.items() if value}


def costs(rounds):
    return {"S10.cpu_us_per_step": medians([one["cpu"] for one in rounds]), **spread("S10.cpu_us_per_step_all", [cpu_of(one) for one in rounds], 1),
            **spread("S10.wal_bytes_per_step", [one["wal"] for one in rounds], 1), **spread("S10.commits_per_step", [one["commits"] for one in rounds], 4),
            **spread("S10.hot_ratio", [one["hot"] for one in rounds], 3), **spread("S10.kept_bytes_per_step", [float(one["kept"]) / one["steps"] for one in rounds], 0)}
