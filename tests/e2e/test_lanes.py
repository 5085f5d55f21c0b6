"""Lanes that begin when others are busy."""

from support.waiting import wait_until

FLOOD = 20000


def start(cell, lanes_max):
    """A cell whose orchestrator has one lane and may have so many, with one worker; and a reply of it: (orchestrator, reply)."""
    cell.lanes = 1
    orchestrator = cell.orchestrator("--lanes-max", lanes_max, "--batch", 300)
    cell.wait_for_orchestrators(1)
    wait_until(lambda: cell.kafka.partitions(cell.topic("tasks")), 30, "the topics")
    cell.worker()
    cell.wait_for_workers(1)
    assert cell.wait(cell.submit({"entrypoint": "dice"})) == {"SUCCESS": 1}
    return orchestrator, next(record.value() for record in cell.kafka.read(cell.topic("results")) if b'"dice"' in record.value()[:100])


def flood(cell, answer):
    """So many replies that change nothing: a lane deals with each."""
    cell.kafka.produce(cell.topic("results"), [answer] * FLOOD)


def test_a_busy_lane_is_given_another_one(cell):
    orchestrator, answer = start(cell, 2)
    assert cell.kafka.members(cell.topic("orchestrators")) == 1 and "another lane" not in orchestrator.text()
    wait_until(lambda: flood(cell, answer) or "another lane begins" in orchestrator.text(), 60, "another lane to begin")
    wait_until(lambda: cell.kafka.members(cell.topic("orchestrators")) == 2, 30, "it to join")
    assert cell.wait(cell.submit_many([{"name": "after", "tasks": [{"entrypoint": "dice"}] * 3}] * 200)) == {"SUCCESS": 200}
    assert orchestrator.stop() == 0


def test_a_lane_that_was_never_needed_ends_with_the_rest(cell):
    orchestrator, _ = start(cell, 3)
    assert orchestrator.stop() == 0
    assert "another lane" not in orchestrator.text()
