"""kser message seal, open and sum. What kser itself does is in test_kser_vectors.py."""

import json
import os

import pytest

FIRST = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHER = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM="
MESSAGE = {"uuid": "d455cba6-b329-4d2d-a4e5-1fc2a0ff2781", "entrypoint": "jobs.Hello", "params": {"name": "C\u00e9dric"}}


@pytest.fixture
def with_key(bare):
    """with_key(keys)("seal", text): `kser message seal -`."""
    def keys(keys):
        def run(verb, text):
            return bare("message", verb, "-", input=text, environment={"KSER_SECRETBOX_KEY": keys})
        return run
    return keys


def done_well(done):
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.count("\n") == 1 and done.stdout.endswith("\n")
    return done.stdout


def refused(done, reason):
    assert done.returncode == 2 and done.stdout == ""
    assert reason in done.stderr and done.stderr.count("\n") == 1
    for key in (FIRST, OTHER):
        assert key[:8] not in done.stderr


def test_there_and_back(with_key):
    envelope = done_well(with_key(FIRST)("seal", json.dumps(MESSAGE)))
    assert set(json.loads(envelope)) == {"data", "nonce"} and "jobs.Hello" not in envelope
    assert done_well(with_key(FIRST)("open", envelope)) == json.dumps(MESSAGE) + "\n"


def test_what_was_sealed_in_lines_comes_back_on_one(with_key):
    envelope = done_well(with_key(FIRST)("seal", "\n " + json.dumps(MESSAGE, indent=2) + "\r\n"))
    assert json.loads(done_well(with_key(FIRST)("open", envelope))) == MESSAGE


def test_the_first_key_seals_and_all_open(with_key):
    envelope = done_well(with_key(f"{OTHER},{FIRST}")("seal", json.dumps(MESSAGE)))
    done_well(with_key(OTHER)("open", envelope))
    done_well(with_key(f"{FIRST} {OTHER}")("open", envelope))
    refused(with_key(FIRST)("open", envelope), "another key sealed it")


def test_keys_from_a_file(bare, tmp_path):
    keys, message = tmp_path / "keys", tmp_path / "message"
    keys.write_text(f"{FIRST}\n{OTHER}\n")
    message.write_text(json.dumps(MESSAGE))
    envelope = done_well(bare("message", "seal", message, environment={"KSER_SECRETBOX_KEY_FILE": str(keys)}))
    done_well(bare("message", "open", "-", input=envelope, environment={"KSER_SECRETBOX_KEY": FIRST}))


@pytest.mark.parametrize("environment, reason", [
    ({}, "no key is given"),
    ({"KSER_SECRETBOX_KEY": FIRST, "KSER_SECRETBOX_KEY_FILE": "/dev/null"}, "are both given"),
    ({"KSER_SECRETBOX_KEY": FIRST[:-1]}, "KSER_SECRETBOX_KEY: key 1 is not 32 bytes in base64"),
    ({"KSER_SECRETBOX_KEY": FIRST + OTHER}, "key 1 is not 32 bytes in base64"),
    ({"KSER_SECRETBOX_KEY_FILE": "/dev/null"}, "/dev/null: it is no regular file"),
    ({"KSER_SECRETBOX_KEY_FILE": "/nowhere"}, "cannot open the keys' file /nowhere"),
    ({"KSER_SECRETBOX_KEY_FILE": "/dev/zero"}, "/dev/zero: it is no regular file"),
])
@pytest.mark.parametrize("verb", ["seal", "open"])
def test_keys_that_cannot_be_used(bare, verb, environment, reason):
    refused(bare("message", verb, "-", input=json.dumps(MESSAGE), environment=environment), reason)


def test_only_messages_are_sealed(with_key):
    refused(with_key(FIRST)("seal", "{}"), "uuid: is missing")
    refused(with_key(FIRST)("seal", "hello"), "byte 0")


def test_a_message_that_is_no_longer_one_when_sealed(with_key):
    text = json.dumps({**MESSAGE, "params": {"text": "x" * 800_000}})
    refused(with_key(FIRST)("seal", text), "sealed, 1048576 are the limit")


def test_a_plain_message_is_not_opened(with_key):
    refused(with_key(FIRST)("open", json.dumps(MESSAGE)), "not a sealed message")


def test_the_sum(bare, tmp_path):
    before, added = tmp_path / "before", tmp_path / "added"
    before.write_text(json.dumps({"uuid": "a", "retcode": 3, "stdout": "first", "retval": {"x": {"y": 1}, "z": 0}}, indent=1))
    added.write_text(json.dumps({"uuid": "b", "stderr": "e", "retval": {"x": {}, "w": None}}))
    assert done_well(bare("message", "sum", before, added)) == (
        '{"uuid":"a","retcode":3,"stdout":"first","stderr":"e","retval":{"x":{},"z":0,"w":null}}\n')
    assert json.loads(done_well(bare("message", "sum", before, "-", input="{}")))["stdout"] == "first"


@pytest.mark.parametrize("text, reason", [("null", "must be an object"), ("[]", "must be an object"), ("{", "byte 1"), ("", "byte 0"), ('{"retcode": "0"}', "retcode")])
def test_the_sum_needs_results(bare, tmp_path, text, reason):
    (tmp_path / "good").write_text("{}")
    (tmp_path / "bad").write_text(text)
    for files in (("good", "bad"), ("bad", "good")):
        done = bare("message", "sum", *(tmp_path / name for name in files))
        refused(done, reason)
        assert str(tmp_path / "bad") in done.stderr
    refused(bare("message", "sum", tmp_path / "good", tmp_path / "missing"), "cannot open")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_keys_that_may_not_be_read(bare, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(FIRST)
    keys.chmod(0)
    refused(bare("message", "seal", "-", input=json.dumps(MESSAGE), environment={"KSER_SECRETBOX_KEY_FILE": str(keys)}), "Permission denied")
