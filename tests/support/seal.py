"""Keys, and the sealed envelope, made and opened by libsodium itself and not by the programs under test."""

import base64
import ctypes
import ctypes.util
import json
import os
import signal

from support.waiting import wait_until

sodium = ctypes.CDLL(ctypes.util.find_library("sodium"))
sodium.sodium_init()
KEY_BYTES, NONCE_BYTES, MAC_BYTES = 32, 24, 16


def new_key():
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def seal(key, text):
    """The envelope of a text (or of a value that is to be JSON), as bytes."""
    plain = text if isinstance(text, bytes) else (text if isinstance(text, str) else json.dumps(text)).encode()
    nonce, sealed = os.urandom(NONCE_BYTES), ctypes.create_string_buffer(len(plain) + MAC_BYTES)
    sodium.crypto_secretbox_easy(sealed, plain, ctypes.c_ulonglong(len(plain)), nonce, base64.b64decode(key))
    return json.dumps({"data": base64.b64encode(sealed.raw).decode(), "nonce": base64.b64encode(nonce).decode()}).encode()


def unseal(keys, record):
    """The bytes in an envelope that one of the keys opens; None when none does; a ValueError when it is no envelope."""
    try:
        envelope = json.loads(record)
        if set(envelope) != {"data", "nonce"}:
            raise ValueError
        sealed, nonce = (base64.b64decode("".join(envelope[name].split()), validate=True) for name in ("data", "nonce"))
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f"is not sealed: {record[:200]}") from None
    assert len(nonce) == NONCE_BYTES and len(sealed) >= MAC_BYTES
    plain = ctypes.create_string_buffer(len(sealed) - MAC_BYTES + 1)
    for key in keys:
        if sodium.crypto_secretbox_open_easy(plain, sealed, ctypes.c_ulonglong(len(sealed)), nonce, base64.b64decode(key)) == 0:
            return plain.raw[:-1]
    return None


class KeyFile:
    """The file of keys that programs read at their start and at SIGHUP, and all keys that were ever in it."""

    AGAIN = ('message="read the keys again"', "Adapter.Keys: read again")

    def __init__(self, path):
        self.path = path
        self.ever = []
        self.keys = []
        self.set([new_key()])

    def set(self, keys):
        """Replaces the file in one step."""
        self.ever += [key for key in keys if key not in self.ever]
        self.keys = keys
        fresh = self.path.with_suffix(".new")
        fresh.write_text("\n".join(keys) + "\n")
        fresh.chmod(0o600)
        fresh.rename(self.path)

    def change(self, keys, programs):
        """As set, and all programs read it."""
        self.set(keys)
        before = {program.pid: self.told(program) for program in programs}
        for program in programs:
            program.signal(signal.SIGHUP)
        wait_until(lambda: all(self.told(program) > before[program.pid] for program in programs), 30, "the keys to be read again")

    def told(self, program):
        """How often a program, in C or in Python, has told that it read them."""
        return sum(program.text().count(words) for words in self.AGAIN)

    def rotate(self, programs, passed):
        """One rotation, step by step. `passed()` waits until nothing that was sealed before it was called is to be read any more."""
        old, fresh = self.keys[0], new_key()
        self.change([old, fresh], programs)
        self.change([fresh, old], programs)
        passed()
        self.change([fresh], programs)


class Groups:
    """Whether those who read a cell's topics have come as far as the topics went."""

    def __init__(self, cell):
        self.cell = cell

    def wait_until_passed(self):
        """Until all that was on the topics when this was called has been read and finished."""
        pairs = [(self.cell.topic("tasks"), f"{self.cell.prefix}.workers"), (self.cell.topic("results"), f"{self.cell.prefix}.orchestrators")]
        ends = [self.cell.kafka.ends(topic) for topic, _ in pairs]

        def passed():
            reached = [self.cell.kafka.committed(topic, group) for topic, group in pairs]
            return all(offset >= end for offsets, some in zip(reached, ends) for offset, end in zip(offsets, some) if end > 0)
        wait_until(passed, 60, "all records of before to be read", pause=0.3)
