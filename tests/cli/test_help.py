"""What the program says about itself, and how it refuses wrong usage."""

import re
import subprocess

import pytest

COMMANDS = ["submit", "ls", "show", "watch", "wait", "cancel", "pause", "resume", "retry", "explain", "worker ls", "dead ls", "dead show", "dead redrive", "dead drop",
            "policy ls", "policy set", "policy drop", "db migrate", "db status", "db doctor", "db purge", "db new-generation", "message check", "message seal", "message open", "message sum", "dev"]


def test_the_list_names_every_command(bare):
    done = bare("--help")
    assert done.returncode == 0 and done.stderr == ""
    listed = re.findall(r"^  ((?:[a-z]+ )*?[a-z-]+)(?: [A-Z].*?)?  +\S", done.stdout.partition("Commands:")[2].partition("\n\n")[0], re.M)
    assert listed == COMMANDS


def test_help_asked_for_in_any_way_is_the_same(bare):
    texts = {bare(*arguments).stdout for arguments in (["ls", "--help"], ["ls", "-h"], ["help", "ls"], ["--help", "ls"], ["ls", "-n", "3", "--help"])}
    assert len(texts) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(bare, command):
    done = bare(*command.split(), "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"kser {command}: ")
    assert f"\nUsage: kser {command} [OPTIONS]" in done.stdout
    assert "-h, --help" in done.stdout and "-V, --version" in done.stdout
    assert ("--database URL" in done.stdout) == (not command.startswith("message "))
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_a_group_lists_its_commands(bare):
    done = bare("db", "--help")
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["db", "migrate"], ["db", "status"], ["db", "doctor"], ["db", "purge"], ["db", "new-generation"]]
    assert bare("db").returncode == 2


def test_version(bare):
    done = bare("--version")
    assert done.returncode == 0 and re.fullmatch(r"kser \d+\.\d+\.\d+\n", done.stdout)
    assert bare("ls", "-V").stdout == done.stdout


@pytest.mark.parametrize("arguments, reason", [
    ([], ""),
    (["frob"], 'unknown command "frob"'),
    (["worker", "frob"], 'unknown command "worker frob"'),
    (["--frob", "ls"], "unknown option --frob"),
    (["ls", "--frob"], "unknown option --frob"),
    (["ls", "-x"], "unknown option -x"),
    (["ls", "--limit"], "option --limit needs a value"),
    (["ls", "-n"], "option -n needs a value"),
    (["ls", "--limit", "many"], '--limit: "many" is not a whole number'),
    (["ls", "--limit", "0"], "range 1 to"),
    (["ls", "--limit", "99999999999999999999"], "is not a whole number"),
    (["ls", "-o", "xml"], '"xml" is not one of table, json, jsonl, ids'),
    (["ls", "surplus"], 'unexpected argument "surplus"'),
    (["wait"], "expected ID"),
    (["wait", "--timeout", "5", "x"], '"5" is not a duration'),
    (["wait", "--timeout", "-5s", "x"], "is not a duration"),
    (["wait", "7"], '"7" is not the id of an operation'),
    (["watch", "a", "b"], "unexpected argument"),
    (["show", "0189-not-a-uuid"], "is not the id of an operation"),
    (["submit"], "expected a FILE"),
    (["submit", "--key", "k"], "expected a FILE"),
    (["submit", "x.json", "--name", "n"], "expected a FILE"),
    (["submit", "/nowhere/at/all.json"], "cannot open /nowhere/at/all.json"),
    (["message", "check", "/nowhere/at/all.json"], "cannot open"),
    (["dev", "-o", "json"], "unknown option"),
    (["-o", "json", "dev"], "does not take --output"),
    (["--database", "x", "dev"], "does not take --database"),
    (["ls", "--database", "postgresql://h:1/x?nonsense=1"], "database URL"),
    (["ls", "--database", "nonsense=1"], "database URL"),
])
def test_wrong_usage_is_refused_with_a_reason(bare, arguments, reason):
    done = bare(*arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    if reason:
        assert done.stdout == "" and done.stderr.startswith("kser") and done.stderr.count("\n") == 1


def test_control_characters_of_arguments_do_not_reach_the_terminal(bare):
    assert "\x1b" not in bare("\x1b[31mfrob").stderr
    assert "\x1b" not in bare("ls", "-o", "\x1b[31m").stderr


def test_a_full_disk_is_not_success(processes):
    with open("/dev/full", "w") as full:
        done = subprocess.run([processes.binaries / "kser", "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "cannot write" in done.stderr
