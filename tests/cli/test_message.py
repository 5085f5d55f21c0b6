"""kser message check."""

import json

import pytest

UUID = "0189aaaa-0000-7000-8000-000000000001"


def check(bare, text):
    return bare("message", "check", "-", input=text)


def test_defaults_are_filled_in_on_one_line(bare):
    done = check(bare, json.dumps({"uuid": UUID, "entrypoint": "dice", "surplus": 1}, indent=2))
    assert done.returncode == 0 and done.stdout.count("\n") == 1
    message = json.loads(done.stdout)
    assert message["uuid"] == UUID and message["entrypoint"] == "dice" and message["params"] == {} and message["metadata"] == {}


def test_a_file(bare, tmp_path):
    path = tmp_path / "message"
    path.write_text(json.dumps({"uuid": UUID, "entrypoint": "dice"}))
    assert bare("message", "check", path).returncode == 0


@pytest.mark.parametrize("message, place", [
    ("{", "byte 1"),
    ("[]", "object"),
    ({"entrypoint": "dice"}, "uuid"),
    ({"uuid": UUID}, "entrypoint"),
    ({"uuid": 7, "entrypoint": "dice"}, "uuid"),
    ({"uuid": UUID, "entrypoint": ""}, "entrypoint"),
    ({"uuid": UUID, "entrypoint": "x" * 256}, "entrypoint"),
    ({"uuid": UUID, "entrypoint": "a\nb"}, "entrypoint"),
    ({"uuid": UUID, "entrypoint": "dice", "params": []}, "params"),
    ({"uuid": UUID, "entrypoint": "dice", "metadata": 1}, "metadata"),
    ({"uuid": UUID, "entrypoint": "dice", "result": {"retcode": "0"}}, "retcode"),
    ({"uuid": UUID, "entrypoint": "dice", "result": {"retcode": 0, "stdout": 1}}, "stdout"),
    ({"uuid": UUID, "entrypoint": "dice", "metadata": {"kser": {"op": UUID}}}, "metadata.kser"),
    pytest.param(" " * (1024 * 1024 + 1), "1048576", id="too-large"),
])
def test_what_cannot_be_used_is_refused_with_its_place(bare, message, place):
    done = check(bare, message if isinstance(message, str) else json.dumps(message))
    assert done.returncode == 2 and done.stdout == ""
    assert place in done.stderr and done.stderr.count("\n") == 1


def test_raw_bytes_do_not_reach_the_terminal(bare, tmp_path):
    path = tmp_path / "message"
    path.write_bytes(b'{"uuid": "\x1b[31m\xff"}')
    done = bare("message", "check", path)
    assert done.returncode == 2 and "\x1b" not in done.stderr


def test_input_without_an_end_is_not_read_to_the_end(bare):
    done = bare("message", "check", "/dev/zero", seconds=20)
    assert done.returncode == 2 and "larger than the limit of 1048576 bytes" in done.stderr
