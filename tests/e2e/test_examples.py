"""The operations of examples/, as the demo runs them."""

import gzip
import json
import re
import uuid
from pathlib import Path

import pytest

from support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


def test_dice(running_cell):
    done = running_cell.processes.run("kser", "submit", "--wait", "examples/dice.json", environment=running_cell.environment)
    assert done.returncode == 0, done.stderr
    (name, status, retval), = running_cell.database.query("select name, status::text, retval from kser.operations")
    assert (name, status) == ("three-rolls", "SUCCESS") and 1 <= retval["roll"] <= 20
    assert [status for _, status, _, _ in running_cell.tasks(running_cell.database.value("select id from kser.operations"))] == ["SUCCESS"] * 3


def nightly(database, folder, night, keep):
    text = (ROOT / "examples" / "backup" / "backup.json").read_text()
    operation = json.loads(text.replace("DATABASE", str(database)).replace("FOLDER", str(folder)).replace("NIGHT", night))
    operation["tasks"][-1]["params"]["keep"] = keep
    return operation


def test_backup(cell, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    cell.orchestrator()
    cell.worker("--config", "examples/backup/worker.ini")
    for night in ("2025-03-29", "2025-03-30", "2025-03-31"):
        id, = cell.submit_many([nightly(cell.database, folder, night, 2)])
        assert cell.wait(id)["SUCCESS"] == 1, cell.database.query("select entrypoint, status, stderr, error from kser.tasks where operation_id = %s", id)
    assert sorted(path.name for path in folder.iterdir()) == [
        f"2025-03-{night}.dump.gz{end}" for night in (30, 31) for end in ("", ".sha256")]
    assert gzip.decompress((folder / "2025-03-31.dump.gz").read_bytes()).startswith(b"PGDMP")
    retval = cell.database.value("select retval from kser.operations where id = %s", id)
    assert retval["tables"] > 5 and len(retval["sha256"]) == 64 and retval["removed"] == ["2025-03-29.dump.gz"] and retval["kept"] == 2


# A step that fails keeps the later ones from running: nothing is pruned.
def test_backup_of_a_database_that_is_not_there(cell, tmp_path):
    cell.orchestrator()
    cell.worker("--config", "examples/backup/worker.ini")
    id, = cell.submit_many([nightly("postgresql:///nobody?host=/nowhere", tmp_path, "2025-03-31", 1)])
    assert cell.wait(id)["FAILED"] == 1
    assert [status for _, status, _, _ in cell.tasks(id)] == ["FAILED"] + ["PENDING"] * 4
    assert "/nowhere" in cell.database.value("select stderr from kser.tasks where operation_id = %s and position = 0", id)


def bare(entrypoint, **params):
    """A message as kser's producers send it: an entrypoint and no tasks."""
    return json.dumps({"uuid": str(uuid.uuid4()), "entrypoint": entrypoint, "params": params, "result": None, "metadata": {}})


# A task, an operation, one made of operations, one without tasks, and one in process; sent as bare messages, whatever they are.
def test_operations_in_code(cell):
    cell.orchestrator()
    environment = {key: value for key, value in cell.environment.items() if key != "KSER_DATABASE_URL"}
    worker = cell.processes.start("dice-worker", "--log-tasks=yes", environment=environment)
    cell.wait_for_workers(1)
    cell.kafka.produce(cell.topic("operations"), [bare("jobs.DiceRoll"), bare("jobs.DiceLaunch", rolls=5), bare("jobs.Yahtzee"), bare("jobs.DiceLaunch", rolls=0), bare("jobs.YahtzeeHere")])
    sent = [("jobs.DiceRoll", None), ("jobs.DiceLaunch", "5"), ("jobs.Yahtzee", None), ("jobs.DiceLaunch", "0"), ("jobs.YahtzeeHere", None)]

    def submitted():  # by lanes of their own, in any order
        found = {(entrypoint, rolls): id for entrypoint, rolls, id in cell.database.query("select entrypoint, params ->> 'rolls', operation_id::text from kser.tasks where position = 0")}
        return [found[one] for one in sent] if len(found) == 5 else None

    ids = wait_until(submitted, 30, "five operations")
    assert cell.wait(ids) == {"SUCCESS": 4, "FAILED": 1}

    def tasks(id):
        return cell.database.query("select entrypoint, status::text, retcode, stdout, stderr from kser.tasks where operation_id = %s order by position", id)

    roll, launch, yahtzee, empty, here = map(tasks, ids)
    assert [len(list) for list in (roll, launch, yahtzee, empty, here)] == [1, 6, 10, 1, 1]
    assert [name for name, *_ in yahtzee] == ["jobs.Yahtzee"] + ["jobs.DiceRoll"] * 9
    assert all(re.fullmatch(r"You made a [1-6]\n", stdout) for *_, stdout, _ in roll + launch[1:] + yahtzee[1:] + here)
    assert empty == [("jobs.DiceLaunch", "FAILED", 1, None, "Nothing to do, empty operation !")]
    assert cell.database.value("select retval from kser.operations where id = %s", ids[4])["rolls"] == 9
    log = worker.log.read_text()
    assert len(re.findall(r'"DiceRoll\.Success: jobs\.DiceRoll\[[0-9a-f-]{36}\]: You made a [1-6]" retcode=0', log)) == 1 + 5 + 9 + 9
    assert f'level=error program=dice-worker message="DiceLaunch.Failed: jobs.DiceLaunch[' in log and "Yahtzee.SetStatus: jobs.Yahtzee[" in log
    with pytest.raises(Exception, match="at least one task"):
        cell.submit(name="nothing")
