"""The operations of examples/, as the demo runs them."""

import gzip
import json
from pathlib import Path

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
