"""Sealed by kser-crypto, opened here, and the other way round."""

import json
from pathlib import Path

import pytest
from kser.controller import Controller
from kser.schemas import Message

pytest.importorskip("kser_crypto.schemas")
from kser_crypto.controller import CryptoController  # noqa: E402
from kser_crypto.schemas import CryptoMessage, CryptoSchema  # noqa: E402

from fleet import TASK, dispatch  # noqa: E402
from kser_adapter import seal, wire  # noqa: E402

FIRST = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHER = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM="
VECTORS = Path(__file__).resolve().parents[3] / "tests" / "kser" / "crypto.json"


@pytest.fixture
def keys(monkeypatch):
    def keys(text=None, path=None):
        for name, value in (("KSER_SECRETBOX_KEY", text), ("KSER_SECRETBOX_KEY_FILE", path)):
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, str(value))
    keys(FIRST)
    return keys


def test_the_controller_says_how_messages_travel(keys):
    assert isinstance(seal.transport_of(Controller), seal.Plain)
    assert isinstance(seal.transport_of(CryptoController), seal.Sealed)
    assert isinstance(seal.transport_of(CryptoController()), seal.Sealed)


def test_what_is_sealed_here_kser_opens(keys):
    record = seal.Sealed().seal(wire.encode(dispatch(params={"name": "C\u00e9dric"}))).decode()
    assert "Hello" not in record
    opened = CryptoMessage.loads(record)
    assert opened.uuid == TASK and opened.params == {"name": "C\u00e9dric"}


def test_what_kser_seals_is_opened_here(keys):
    text = CryptoSchema().encode(Message(uuid=TASK, entrypoint="e"))
    assert seal.Sealed().open(text).uuid == TASK


@pytest.mark.skipif(not VECTORS.exists(), reason="outside of the checkout")
def test_vectors(keys):
    tried = 0
    for case in json.loads(VECTORS.read_text())["cases"]:
        if case["decrypts"]:
            keys(case["key"])
            assert seal.Sealed().open(case["envelope"]).dump() == case["decoded"], case["name"]
            tried += 1
    assert tried == 17


def test_rotation(keys, tmp_path):
    path = tmp_path / "keys"
    path.write_text(FIRST + "\n")
    keys(None, path)
    worker = seal.Sealed()
    old = worker.seal(wire.encode(dispatch()))
    path.write_text(OTHER + "\n" + FIRST + "\n")
    worker.reload()
    assert worker.open(old.decode()).uuid == TASK
    keys(OTHER)
    assert CryptoMessage.loads(worker.seal(wire.encode(dispatch())).decode()).uuid == TASK
    keys(None, path)
    path.write_text("half a k")
    with pytest.raises(ValueError):
        worker.reload()
    assert worker.open(old.decode()).uuid == TASK


@pytest.mark.parametrize("text", ["", " ", FIRST[:-1], FIRST + "x", "-__7__v_-__7__v_-__7__v_-__7__v_-__7__v_-_8=", FIRST + " " + OTHER[:-4], ",".join([FIRST] * 17)])
def test_keys_that_are_none(keys, text):
    keys(text)
    with pytest.raises(ValueError) as told:
        seal.Sealed()
    assert FIRST[:8] not in str(told.value) and OTHER[:8] not in str(told.value)


def test_none_or_both(keys):
    keys()
    with pytest.raises(ValueError, match="no key"):
        seal.Sealed()
    keys(FIRST, "/dev/null")
    with pytest.raises(ValueError, match="both"):
        seal.Sealed()


def test_what_does_not_open(keys):
    record = seal.Sealed().seal(wire.encode(dispatch())).decode()
    keys(OTHER)
    with pytest.raises(ValueError, match="another key sealed it"):
        seal.Sealed().open(record)
    with pytest.raises(Exception):
        seal.Sealed().open(wire.encode(dispatch()))  # plain text has no way through


def test_an_envelope_that_is_too_large(keys):
    with pytest.raises(ValueError, match="at most 1048576"):
        seal.Sealed().seal(wire.encode({"x": "y" * 800000}))
