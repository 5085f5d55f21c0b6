#!/bin/sh
# metrics_page.sh BUILD [write]: compares docs/metrics.md with what the programs' tables say, or writes it.
set -eu
page=$(dirname "$0")/../../docs/metrics.md
generated=$(mktemp)
trap 'rm -f "$generated"' EXIT
{
	cat <<'END'
# Metrics

Made from the programs' own tables; `tests/docs/metrics_page.sh build/dev write` makes it again.

Both daemons serve Prometheus metrics by HTTP when they are told to: `KSER_METRICS_ENABLED=yes` (only `yes` and `no` are taken), `KSER_METRICS_ADDRESS` (default
`0.0.0.0`) and `KSER_METRICS_PORT`, names and defaults as in the Python library kser: a worker listens on 8888. An orchestrator listens on 8889, so that one of each can run on a host.
Several workers on one host need a port each, or `0`: a free one, which the line `serving metrics` of the log tells. A port that cannot be had or an address that is not this machine's ends the program with status 1, one that is no address with 2.

`/metrics` has the text format 0.0.4. `/healthz` answers 200 while an orchestrator's sign of life in the database is recent enough to dispatch, or a worker's heartbeats are acknowledged; else 503.
There is no password and no TLS: listen on an address that only the scraper reaches, or put a proxy before it. Slow and senseless clients cannot hold it up: a connection has one request and five seconds, and there are 32 at most.

Switched off, nothing is measured and no socket is opened. What only the database knows is read by the process with the keeper's role, one statement every five seconds; the others do not show those gauges (`Keeper:` below),
so a sum over all processes is right. Label values are bounded: entrypoints that a worker has registered, queues that the database knows, fixed words.

## A start

    scrape_configs:
      - job_name: kser
        static_configs:
          - targets: ["orchestrator:8889", "worker:8888"]

    groups:
      - name: kser
        rules:
          - alert: KserNobodyKeeps
            expr: sum(kser_keeper) != 1 or absent(kser_keeper)
            for: 1m
          - alert: KserStuck
            expr: max(kser_oldest_due_seconds) > 60
            for: 2m
          - alert: KserNoWorkers
            expr: sum by (queue) (kser_operations_running) > 0 unless sum by (queue) (kser_workers) > 0
            for: 2m
          - alert: KserDeadLetters
            expr: increase(kser_buried_records_total[15m]) > 0
          - alert: KserLosesAttempts
            expr: increase(kser_lost_attempts_total[15m]) > 0
          - alert: KserSlowDatabase
            expr: histogram_quantile(0.5, sum by (le) (rate(kser_apply_seconds_bucket[5m]))) > 0.1
            for: 5m

## kser-orchestrator

END
	"$1/tests/metrics_page_orchestrator"
	printf '\n## kser-worker\n\n'
	"$1/tests/metrics_page_worker"
	cat <<'END'

`kser_task_count` and `kser_task_result_total` are the Python library's, counted where it counts them (docs/compatibility.md).

How long a task lay in Kafka is in none of them: the clocks of two machines do not measure it. `kser_admission_wait_seconds` is what it waited before (the database's clock), `kser_queue_lag_records` how many lie
there, `kser_worker_queue_wait_seconds` what it waited after (the worker's clock).

An update is one or two relaxed atomic additions by the thread that has something to count: 27 to 41 ns for a counter and a histogram together (`tests/unit/metrics_threads.c`, argument `time`, on a busy machine), and a comparison when metrics are off.
END
} >"$generated"
if [ "${2:-}" = write ]; then
	cp "$generated" "$page"
else
	diff -u "$page" "$generated"
fi
