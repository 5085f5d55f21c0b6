"""The keeper deletes what ended long ago."""

import re

from support import prometheus
from support.ageing import make_older
from support.waiting import wait_until

ON = ("--retention", "1h", "--metrics-enabled", "--metrics-address", "127.0.0.1", "--metrics-port", 0)


def purged_by(process):
    port = int(re.search(r'"?serving metrics"? address=127\.0\.0\.1 port=(\d+)', process.text())[1])
    return int(re.search(r"^kser_purged_operations_total (\d+)", prometheus.get(port, "/metrics")[1], re.M)[1])


def test_the_keeper_deletes_what_ended_long_ago(cell):
    """The first orchestrator has the role: of what gets old meanwhile it deletes what is just old enough, and does not look again at what
    lies further back. The second one takes the role over and begins at the oldest. What has not ended stays, and so does what is young; what
    comes late for a deleted one is counted, and others go on."""
    first = cell.orchestrator(*ON)
    wait_until(lambda: "has the keeper's role" in first.text(), 30, "the keeper")
    second = cell.orchestrator(*ON)
    cell.wait_for_orchestrators(2)
    cell.worker()
    cell.wait_for_workers(1)
    ids = [cell.submit({"entrypoint": "echo"}, {"entrypoint": entrypoint}) for entrypoint in ("echo", "echo", "fail", "echo")]
    assert cell.wait(ids) == {"SUCCESS": 3, "FAILED": 1}
    waits = cell.submit({"entrypoint": "echo"}, start_at="2999-01-01T00:00:00Z")
    answers = [record.value() for record in cell.kafka.read(cell.topic("results")) if ids[0].encode() in record.value()]
    assert len(answers) == 2
    recent = make_older(cell.database.query, ids[0], "65 minutes")
    oldest = [make_older(cell.database.query, id, "30 days") for id in (ids[1], ids[2], waits)]

    def left():
        return {id for id, in cell.database.query("select id from kser.operations")}

    wait_until(lambda: recent not in left(), 30, "what is just old enough to be deleted")
    assert left() == {*oldest, cell.database.value("select %s::uuid", ids[3])}
    assert (purged_by(first), purged_by(second)) == (1, 0)
    first.terminate()
    first.wait()
    wait_until(lambda: purged_by(second) == 2, 30, "what is oldest to be deleted by the one that has the role now")
    assert left() == {oldest[2], cell.database.value("select %s::uuid", ids[3])}
    assert cell.database.value("select count(*) from kser.tasks") == 3
    assert cell.database.value("select count(*) from kser.history where operation_id = any (%s)", [recent, *oldest]) == 0

    cell.kafka.produce(cell.topic("results"), answers)
    assert cell.wait(cell.submit({"entrypoint": "echo"}, {"entrypoint": "echo"})) == {"SUCCESS": 1}
    wait_until(lambda: cell.database.value("select value from kser.counters where name = 'replies_unknown'") == 2, 30, "the late answers")


def test_a_retention_of_minutes_is_refused(processes):
    for retention, reason in (("59m", "retention: must be 0s, for ever, or at least 1h"), ("30", "not a duration"), ("3651d", "range")):
        done = processes.run("kser-orchestrator", "--retention", retention)
        assert done.returncode == 2 and reason in done.stderr, done.stderr
