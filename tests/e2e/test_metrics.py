"""What both programs show of themselves, as a real Prometheus has it."""

import json
import re

import pytest

from support import prometheus
from support.processes import ROOT
from support.waiting import wait_until

ON = ("--metrics-enabled", "--metrics-address", "127.0.0.1", "--metrics-port", 0)


def port_of(process):
    found = wait_until(lambda: re.search(r'"?serving metrics"? address=127\.0\.0\.1 port=(\d+)', process.text()), 30, "the port of " + process.name)
    return int(found[1])


@pytest.fixture
def scraped(cell, tmp_path):
    """A cell whose programs are scraped: (cell, prometheus, port of the orchestrator, port of the worker)."""
    orchestrator = cell.orchestrator(*ON)
    cell.wait_for_orchestrators(1)
    wait_until(lambda: cell.kafka.partitions(cell.topic("tasks")), 30, "the topics")
    worker = cell.worker(*ON)
    ports = port_of(orchestrator), port_of(worker)
    server = prometheus.Prometheus(tmp_path, {"orchestrator": ports[0], "worker": ports[1]})
    yield cell, server, *ports
    server.stop()


def run_some_tasks(cell):
    """5 tasks that succeed (one submitted by the topic), one that fails, one without its parameter, one that is not registered; 2 dead letters."""
    ids = [cell.submit({"entrypoint": "echo", "params": {"text": "a"}}, {"entrypoint": "echo"}, {"entrypoint": "sleep", "params": {"seconds": 0.2}}),
           cell.submit({"entrypoint": "dice"}, {"entrypoint": "fail"}),
           cell.submit({"entrypoint": "sleep"}),
           cell.submit({"entrypoint": "no.such"})]
    assert cell.wait(ids) == {"SUCCESS": 1, "FAILED": 3}
    cell.kafka.produce(cell.topic("operations"), [json.dumps({"uuid": "u", "entrypoint": "echo"}).encode(), b"nonsense"])
    cell.kafka.produce(cell.topic("tasks"), [b"nonsense"])
    wait_until(lambda: cell.database.value("select count(*) from kser.dead_letters") == 2, 30, "the dead letters")
    wait_until(lambda: cell.database.value("select count(*) from kser.operations where status = 'SUCCESS'") == 2, 30, "what was submitted by a topic")


def names_in(page):
    return set(re.findall(r"^\| `(\w+)` \|", page, re.M))


def test_prometheus_scrapes_both_programs(scraped):
    cell, server, orchestrator, worker = scraped
    run_some_tasks(cell)
    answer = next(record.value() for record in cell.kafka.read(cell.topic("results")) if b'"dice"' in record.value()[:100])
    cell.kafka.produce(cell.topic("results"), [answer])
    held = cell.submit(cell.ledger.hold())
    expected = {
        # the Python library's
        'kser_task_count{job="worker"}': 7,
        'sum(kser_task_result_total{status="SUCCESS",name="echo"})': 3,
        'sum(kser_task_result_total{status="FAILED",name="sleep"})': 1,
        'sum(kser_task_result_total{status="FAILED",name="fail"})': 1,
        'sum(kser_task_result_total)': 7,
        # the worker's
        'sum(kser_worker_attempts_total{outcome="success"})': 5,
        'kser_worker_attempts_total{outcome="failure",entrypoint="fail"}': 1,
        'kser_worker_attempts_total{outcome="failure",entrypoint=""}': 1,
        'kser_worker_run_seconds_count{entrypoint="echo"}': 3,
        'kser_worker_run_seconds_bucket{entrypoint="sleep",le="0.1"}': 1,
        'kser_worker_run_seconds_bucket{entrypoint="sleep",le="+Inf"}': 2,
        'kser_worker_queue_wait_seconds_count': 9,
        'kser_worker_slots': 50,
        'kser_worker_slots_used': 1,
        'kser_worker_tasks_in_hand': 1,
        'kser_worker_claims': 1,
        'kser_worker_unusable_records_total': 1,
        'kser_worker_lag_records': 0,
        'kser_worker_produce_ack_seconds_count >= bool 9': 1,
        # the orchestrator's
        'kser_keeper': 1,
        'kser_lanes': 2,
        'kser_results_total{verdict="won"}': 8,
        'kser_results_total{verdict="late"}': 1,
        'kser_attempts_total{outcome="success"}': 5,
        'kser_attempts_total{outcome="failure"}': 3,
        'kser_dispatches_total{by="admission"}': 6,
        'kser_dispatches_total{by="result"}': 3,
        'kser_admission_wait_seconds_count': 6,
        'kser_produce_ack_seconds_count': 9,
        'kser_dispatches_unacknowledged': 0,
        'kser_submissions_total': 1,
        'kser_purged_operations_total': 0,
        'kser_buried_records_total': 2,
        'kser_apply_batch_results_sum >= bool 9': 1,
        'kser_lag_records{topic="results"}': 0,
        'sum(kser_lost_attempts_total)': 0,
        # out of the database
        'kser_dead_letters': 2,
        'kser_workers': 1,
        'kser_claims': 1,
        'kser_operations_running': 1,
        'kser_backlog_tasks': 0,
        'kser_oldest_due_seconds': 0,
        'kser_queue_lag_records': 0,
    }
    for expression, value in expected.items():
        server.wait_for(expression, value)
    cell.ledger.open()
    assert cell.wait(held) == {"SUCCESS": 1}

    page = (ROOT / "docs" / "metrics.md").read_text()
    shown = prometheus.get(orchestrator, "/metrics")[1], prometheus.get(worker, "/metrics")[1]
    assert {name for text in shown for name in re.findall(r"^# TYPE (\w+) ", text, re.M)} == names_in(page)
    assert prometheus.check(shown[0]) == []
    assert prometheus.check(shown[1]) == ['kser_task_count non-histogram and non-summary metrics should not have "_count" suffix']
    assert [prometheus.get(port, "/healthz") for port in (orchestrator, worker)] == [(200, "ok\n")] * 2


def test_a_port_that_cannot_be_had_ends_the_program(scraped, processes):
    cell, _, orchestrator, worker = scraped
    for program, port in (("kser-orchestrator", orchestrator), ("kser-worker", worker)):
        on = ("--metrics-enabled", "--metrics-address", "127.0.0.1", "--metrics-port")
        done = processes.run(program, *on, port, environment=cell.environment)
        assert done.returncode == 1 and f"127.0.0.1, port {port}: Address already in use" in done.stderr, done.stderr
        done = processes.run(program, "--metrics-enabled", "--metrics-address", "no.such.invalid", environment=cell.environment)
        assert done.returncode == 2 and "metrics-address: no.such.invalid: " in done.stderr, done.stderr
        done = processes.run(program, *on, 65536, environment=cell.environment)
        assert done.returncode == 2 and "metrics-port" in done.stderr, done.stderr
    quiet = cell.worker()
    wait_until(lambda: "ready" in quiet.text(), 30, "a worker without metrics")
    assert "serving metrics" not in quiet.text()
