"""One message through the fleet's controller."""

import logging

import pytest
from cdumay_result import Result
from kser.schemas import Message

from fleet import TASK, DiceRoll, FleetController, dispatch
from kser_adapter import execution, wire


def run(queue="", **message):
    text = wire.encode(dispatch(**message))
    return execution.run(FleetController, text, Message.loads(text), queue)


def test_a_task():
    outcome = run(params={"name": "Cedric"})
    assert outcome.result.retcode == 0 and outcome.result.stdout == "Hello Cedric !" and outcome.result.uuid == TASK
    assert outcome.own == {"stdout": "Hello Cedric !", "stderr": "", "retval": {"greeted": "Cedric"}}
    assert outcome.plan is None and outcome.params == {"name": "Cedric"}


def test_the_same_log_lines_as_kser(caplog):
    text = wire.encode(dispatch(params={"name": "Cedric"}))
    with caplog.at_level(logging.DEBUG, "kser"):
        FleetController.run(text)
        expected = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
        caplog.clear()
        execution.run(FleetController, text, Message.loads(text))
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == expected
    assert ("kser.controller", "INFO", "FleetController.Success: jobs.Hello[{}]: Hello Cedric !".format(TASK)) in expected


def test_a_registry_has_an_instance():
    text = wire.encode(dispatch(params={"name": "x"}))
    assert execution.run(FleetController(), text, Message.loads(text)).result.stdout == "Hello x !"


def test_triggers_of_the_controller():
    del FleetController.heard[:]
    run(params={"name": "x"})
    assert FleetController.heard == [TASK]


class Forgetful(FleetController):
    """Its triggers return nothing, as those of many fleets do."""

    @classmethod
    def onsuccess(cls, kmsg, result):
        return None

    @classmethod
    def onerror(cls, kmsg, result):
        return None


@pytest.mark.parametrize("entrypoint, retcode", [("Hello", 0), ("Raises", 500)])
def test_triggers_that_return_nothing_lose_no_result(entrypoint, retcode):
    text = wire.encode(dispatch(entrypoint=entrypoint, params={"name": "x"}))
    assert execution.run(Forgetful, text, Message.loads(text)).result.retcode == retcode


def test_what_came_is_added_to():
    outcome = run(entrypoint="Same", params={"stdout": "new", "retval": {"b": 2}}, result={"uuid": "first", "stdout": "old", "stderr": "e", "retval": {"a": 1}})
    assert (outcome.result.stdout, outcome.result.stderr, outcome.result.retval, outcome.result.uuid) == ("new", "e", {"a": 1, "b": 2}, "first")
    assert outcome.own == {"stdout": "new", "stderr": "", "retval": {"b": 2}}


# Two dice that fall alike: the second one's words are its own, though they are the same as those that came.
def test_saying_the_same_again_is_not_carrying_on():
    text = wire.encode(dispatch(entrypoint="DiceRoll", result={"stdout": "You made a 3", "retval": {"a": 1}}))
    task = wire.Task(Message.loads(text))
    reply = wire.reply(task, "w", execution.run(FleetController, text, task.message))
    assert reply["metadata"]["kser"]["inherited"] == {"retval": ["a"]}


def test_printing_into_its_own_result():
    text = wire.encode(dispatch(entrypoint="Prints", result={"stdout": "old\n", "retval": {"a": 1}}))
    task = wire.Task(Message.loads(text))
    reply = wire.reply(task, "w", execution.run(FleetController, text, task.message))
    assert reply["result"]["stdout"] == "old\nmore\n"
    assert reply["metadata"]["kser"]["inherited"] == {"retval": ["a"]}


def test_failures():
    missing = run()
    assert missing.result.retcode == 400 and missing.result.stderr == "Missing parameter: name"
    raised = run(entrypoint="Raises")
    assert raised.result.retcode == 500 and raised.result.stderr == "'x'"
    unknown = run(entrypoint="Unknown")
    assert unknown.result.retcode == 400 and unknown.result.stderr == "Entrypoint 'jobs.Unknown' not registred"
    left = run(entrypoint="Leaves")
    assert left.result.retcode == 500 and "exit status 3" in left.result.stderr


def test_a_running_file_that_cannot_be_written_is_told(monkeypatch, tmp_path):
    if not hasattr(FleetController, "start_processing"):
        pytest.skip("this kser has no running file")
    monkeypatch.setenv("RUNNING_FILE", str(tmp_path / "no" / "such"))
    assert run(params={"name": "x"}).result.retcode == 500


# ---- operations ----

def test_an_operation_is_a_plan():
    outcome = run(entrypoint="DiceLaunch", params={"player": 4})
    assert outcome.result.retcode == 0
    assert outcome.plan == [{"entrypoint": "fleet.DiceRoll", "params": {"player": 4}, "queue": ""}] * 3


def test_the_plan_stays_in_the_queue_unless_a_task_says_where():
    outcome = run(queue="py", entrypoint="DiceLaunch")
    assert {element["queue"] for element in outcome.plan} == {"py"}
    elsewhere = DiceRoll()
    elsewhere.queue = ""
    assert execution.planned_of(elsewhere, "py") == [{"entrypoint": "fleet.DiceRoll", "params": {}, "queue": ""}]


def test_nested_operations():
    outcome = run(entrypoint="Yahtzee")
    assert [element["entrypoint"] for element in outcome.plan] == ["fleet.DiceRoll"] * 6 + ["fleet.DiceLaunch"]
    assert [element["params"]["player"] for element in outcome.plan] == [1] * 3 + [2] * 3 + [3]


def test_what_came_goes_through_an_operation():
    outcome = run(entrypoint="DiceLaunch", result={"uuid": "first", "stdout": "old", "retval": {"a": 1}})
    assert outcome.result.stdout == "old" and outcome.result.retval == {"a": 1}


def test_an_empty_operation_fails():
    outcome = run(entrypoint="Nothing")
    assert outcome.plan is None and outcome.result.retcode == 1 and outcome.result.stderr == "Nothing to do, empty operation !"


def test_an_operation_that_cannot_be_built():
    outcome = run(entrypoint="Picky")
    assert outcome.plan is None and outcome.result.retcode == 400 and outcome.result.stderr.startswith("Missing parameter: size for ")
    assert run(entrypoint="Picky", params={"size": 1}).plan == [{"entrypoint": "fleet.DiceRoll", "params": {}, "queue": ""}]


def test_the_result_of_a_message_without_one_is_fresh():
    assert isinstance(run(params={"name": "x"}).result, Result)
