"""What the servers allow without kser: the bare-Postgres loop and the bare Kafka echo."""

import json
import subprocess

from kser_bench.stand import BIN, ROOT

RECORD_BYTES = 400


def output(*command):
    return subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True, text=True).stdout


def postgres_steps_per_s(stand):
    """One connection, set-based, batches of 500."""
    return int(output(BIN / "bench-bare", stand.database, 500, ROOT / "bench"))


def kafka_echo(stand, in_flight, seconds):
    """{"round_trips_per_s", "ms_p50", "ms_p99"} of two hops with records of 400 bytes."""
    return json.loads(output(BIN / "bench-echo", stand.brokers, stand.prefix, in_flight, seconds, RECORD_BYTES))
