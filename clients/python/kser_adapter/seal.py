"""Between messages and the bytes of a record: plain, or in the sealed envelope of kser-crypto."""

import base64
import binascii
import json
import os
import re

from kser.schemas import Message

from .wire import MESSAGE_BYTES_MAX

KEYS_MAX = 16


class Plain:
    """Messages as they are."""

    @staticmethod
    def open(text):
        return Message.loads(text)

    @staticmethod
    def seal(text):
        return sized(text.encode("ascii"))

    def reload(self):
        pass


class Sealed:
    """kser's sealed envelope. The first key seals, all of them open. What is not sealed is refused."""

    def __init__(self):
        from kser_crypto.schemas import CryptoSchema
        self.schema = CryptoSchema
        self.keys = read_keys()

    def reload(self):
        """Reads the keys again; when they cannot be used the old ones stay and ValueError says why."""
        self.keys = read_keys()

    def open(self, text):
        for key in self.keys:
            try:
                return self.schema(context={"secretbox_key": key}).decode(text)
            except (UnicodeDecodeError, json.JSONDecodeError, binascii.Error):
                raise
            except ValueError as reason:
                if str(reason):  # another key gives an empty text
                    raise
        raise ValueError("cannot be opened: another key sealed it, or it was altered")

    def seal(self, text):
        return sized(self.schema(context={"secretbox_key": self.keys[0]}).encode(Ready(text)).encode("ascii"))


class Ready:
    """A message whose text is made already, in the form that the schema asks for."""

    def __init__(self, text):
        self.text = text
        self.MARSHMALLOW_SCHEMA = self

    def dumps(self, _):
        return self.text


def sized(record):
    if len(record) > MESSAGE_BYTES_MAX:
        raise ValueError("the reply has {} bytes, at most {} are possible".format(len(record), MESSAGE_BYTES_MAX))
    return record


def read_keys():
    """The keys of KSER_SECRETBOX_KEY, or of the file that KSER_SECRETBOX_KEY_FILE names. No error repeats a part of one."""
    text, path = os.environ.get("KSER_SECRETBOX_KEY"), os.environ.get("KSER_SECRETBOX_KEY_FILE")
    if not text and not path:
        raise ValueError("no key is given: set KSER_SECRETBOX_KEY or KSER_SECRETBOX_KEY_FILE")
    if text and path:
        raise ValueError("KSER_SECRETBOX_KEY and KSER_SECRETBOX_KEY_FILE are both given")
    if path:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(4097)
    keys = [word for word in re.split(r"[ ,\t\r\n]+", text) if word]
    if not 1 <= len(keys) <= KEYS_MAX:
        raise ValueError("{} keys: there must be 1 to {}".format(len(keys), KEYS_MAX))
    for number, key in enumerate(keys, 1):
        check_key(number, key)
    return keys


def check_key(number, key):
    try:
        good = len(base64.b64decode(key, validate=True)) == 32
    except (binascii.Error, ValueError):
        good = False
    if not good:
        raise ValueError("key {} is not 32 bytes in base64".format(number))


def transport_of(controller):
    """How a fleet's messages travel is said by its controller's TRANSPORT, as in kser."""
    schema = getattr(controller.TRANSPORT, "MARSHMALLOW_SCHEMA", None)
    return Sealed() if hasattr(schema, "decode") else Plain()
