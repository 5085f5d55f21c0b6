"""kser ls, show and worker ls, in every format."""

import json
import re

import pytest

from cli.program import MISSING


@pytest.fixture
def ids(kser):
    """Three operations: SUCCESS, FAILED and PENDING, in this order."""
    ids = [kser.submit({"entrypoint": "a"}, {"entrypoint": "b"}, name="first"), kser.submit(name="second"), kser.submit(name="third", priority=5)]
    kser.step(ids[0], 0, "SUCCESS", 0, stdout="hello\n", retval={"n": 1})
    kser.step(ids[0], 1, "SUCCESS", 0)
    kser.step(ids[1], 0, "FAILED", 400, error="ValidationError", retval={"error": {"message": "Missing parameter: x"}})
    return ids


def test_newest_first_in_every_format(kser, ids):
    assert kser("ls", "-o", "ids").stdout.split() == ids[::-1]
    rows = json.loads(kser("ls", "-o", "json").stdout)
    assert [(row["id"], row["name"], row["status"], row["priority"], row["held"]) for row in rows] == [
        (ids[2], "third", "PENDING", 5, False), (ids[1], "second", "FAILED", 0, False), (ids[0], "first", "SUCCESS", 0, False)]
    assert [json.loads(line)["id"] for line in kser("ls", "-o", "jsonl").stdout.splitlines()] == ids[::-1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d", rows[0]["created_at"])
    assert rows[0]["started_at"] is None and rows[1]["error"] == "ValidationError" and rows[1]["retcode"] == 400 and rows[2]["seconds"] >= 0


def test_the_table_is_aligned(kser, ids):
    lines = kser("ls").stdout.splitlines()
    assert lines[0].split() == ["ID", "NAME", "STATUS", "HELD", "PRIORITY", "CREATED", "SECONDS", "RETCODE", "ERROR", "MESSAGE"]
    assert [line.split()[0] for line in lines[1:]] == ids[::-1]
    column = lines[0].index("STATUS")
    assert [line[column:].split()[0] for line in lines[1:]] == ["PENDING", "FAILED", "SUCCESS"]
    end = lines[0].index("PRIORITY") + len("PRIORITY")
    assert [line[:end].split()[-1] for line in lines[1:]] == ["5", "0", "0"]
    assert all(line == line.rstrip() for line in lines)


def test_filters(kser, ids):
    assert kser("ls", "--status", "FAILED", "-o", "ids").stdout.split() == [ids[1]]
    assert kser("ls", "--name", "first", "-o", "ids").stdout.split() == [ids[0]]
    assert kser("ls", "--name", "first", "--status", "FAILED", "-o", "ids").stdout == ""
    assert kser("ls", "-n", "2", "-o", "ids").stdout.split() == ids[:0:-1]
    assert kser("ls", "--name", "none", "-o", "json").stdout == "[]\n"
    done = kser("ls", "--status", "DONE")
    assert (done.returncode, done.stderr) == (2, "kser: --status DONE: must be PENDING, RUNNING, SUCCESS or FAILED\n")


# * and ? are the only letters that stand for others: what means something to SQL or to a regular expression means itself.
@pytest.mark.parametrize("pattern, found", [
    ("report.*", {"report.day", "report.week", "report."}), ("*", None), ("report.", {"report."}), ("report.???", {"report.day"}), ("re%", set()), ("r_port.day", set()),
    ("*%*", {"50%"}), ("a_?", {"a_b"}), ("a\\*", {"a\\c"}), ("*\\?", {"a\\c"}), ("[ar]*", set()), ("REPORT*", set()), ("*.day", {"report.day"})])
def test_names_by_pattern(kser, pattern, found):
    names = {"report.day", "report.week", "report.", "50%", "a_b", "axb", "a\\c"}
    kser("submit", "-", input=json.dumps([{"name": name} for name in sorted(names)]))
    rows = json.loads(kser("ls", "--name", pattern, "-o", "json").stdout)
    assert {row["name"] for row in rows} == (names if found is None else found)


def test_more_than_one_page(kser):
    done = kser("submit", "-", input=json.dumps([{"name": "n"}] * 2500))
    submitted = done.stdout.split()
    assert len(kser("ls", "-o", "ids").stdout.split()) == 20
    assert kser("ls", "--all", "-o", "ids").stdout.split() == sorted(submitted, reverse=True)
    assert len(kser("ls", "--limit", "1500", "-o", "ids").stdout.split()) == 1500
    assert len(json.loads(kser("ls", "--all", "-o", "json").stdout)) == 2500
    assert len(kser("ls", "--all").stdout.splitlines()) == 2501


# What came from outside must not be able to draw on, or rewrite, an operator's terminal.
def test_texts_from_outside_are_escaped_in_tables(kser):
    name = "a\x1b[2Jb\n\x07\u202ec\x9bd"
    id = kser.submit({"entrypoint": "x"}, name="ok", params={"k": name})
    kser.step(id, 0, "FAILED", 1, error="E", stdout=name, retval={"error": {"message": name}})
    for command in (["show", id], ["watch", id], ["ls"]):
        text = kser(*command).stdout
        assert not set(text) & set("\x1b\x07\u202e\x9b"), command
    shown = kser("show", id).stdout
    assert "a\\x1b[2Jb\\n\\x07" in shown
    assert json.loads(kser("show", id, "-o", "json").stdout)["tasks"][0]["stdout"] == name


def test_wide_letters_keep_the_columns_straight(kser):
    for name in ("日本語", "ascii", "äöü", "e\u0301"):
        kser.submit(name=name)
    lines = kser("ls").stdout.splitlines()

    def width(text):
        import unicodedata
        return sum(0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)

    assert len({width(line.partition("PENDING")[0]) for line in lines[1:]}) == 1


def test_show_tells_an_operation_and_its_tasks(kser, ids):
    shown = json.loads(kser("show", ids[0], "-o", "json").stdout)
    assert shown["id"] == ids[0] and shown["status"] == "SUCCESS"
    assert [(task["position"], task["entrypoint"], task["status"], task["retcode"], task["attempt"]) for task in shown["tasks"]] == [
        (0, "a", "SUCCESS", 0, 1), (1, "b", "SUCCESS", 0, 1)]
    assert shown["tasks"][0]["stdout"] == "hello\n" and shown["tasks"][0]["retval"] == {"n": 1}
    assert kser("show", ids[0], "-o", "jsonl").stdout == kser("show", ids[0], "-o", "json").stdout
    table = kser("show", ids[1]).stdout
    assert re.search(r"^Status +FAILED$", table, re.M) and re.search(r"^Error +ValidationError$", table, re.M)
    assert "Missing parameter: x" in table
    assert "hello  " in kser("show", ids[0]).stdout, "without its line end"


def test_show_takes_several_ids(kser, ids):
    several = kser("show", "-", "-o", "json", input=f"{ids[0]}\n\n {ids[1]} \n")
    assert [entry["id"] for entry in json.loads(several.stdout)] == ids[:2]
    lines = kser("show", ids[0], ids[1], "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines if line] == ids[:2]
    assert kser("show", ids[0].upper()).returncode == 0


def test_show_of_many_tasks_has_them_all(kser):
    id = kser.submit(*({"entrypoint": f"e{i}"} for i in range(120)))
    assert [task["entrypoint"] for task in json.loads(kser("show", id, "-o", "json").stdout)["tasks"]] == [f"e{i}" for i in range(120)]
    assert len(kser("show", id, "-o", "ids").stdout.split()) == 120


def test_long_texts_are_cut_in_the_table_only(kser):
    id = kser.submit({"entrypoint": "x"})
    text = "x" + "ä" * 5000
    kser.step(id, 0, "SUCCESS", 0, stdout=text)
    table = kser("show", id).stdout
    assert " x" + "ä" * 29 + "…" in table, "cut between letters, not within one"
    assert max(map(len, table.splitlines())) < 300
    assert json.loads(kser("show", id, "-o", "json").stdout)["tasks"][0]["stdout"] == text


def test_what_does_not_exist_is_missing(kser):
    done = kser("show", MISSING)
    assert done.returncode == 4 and MISSING in done.stderr


def test_workers(kser, database):
    assert kser("worker", "ls", "-o", "json").stdout == "[]\n"
    for name, seen, left in (("here", "0 s", None), ("silent", "31 s", None), ("left", "0 s", "now")):
        database.query("insert into kser.workers (incarnation, host, pid, slots, free, entrypoints, started_at, seen_at, left_at)"
                       " values (%s, 'h', 7, 8, 3, '{echo,dice}', now() - interval '1 min', now() - %s::interval, %s)", name, seen, left)
    assert kser("worker", "ls", "-o", "ids").stdout.split() == ["here"]
    rows = {row["worker"]: row for row in json.loads(kser("worker", "ls", "--all", "-o", "json").stdout)}
    assert {name: row["state"] for name, row in rows.items()} == {"here": "here", "silent": "silent", "left": "left"}
    assert rows["here"]["entrypoints"] == ["echo", "dice"] and rows["here"]["slots"] == 8 and rows["here"]["free"] == 3
    assert "echo dice" in kser("worker", "ls").stdout
