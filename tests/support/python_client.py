"""The Python library's own client side, unchanged, sealed where KSER_SECRETBOX_KEY is set. Brokers: KSER_BROKERS.

python_client.py send TOPIC ENTRYPOINT PARAMS [METADATA]   as its producer example does; prints its result
python_client.py listen TOPIC COUNT                        its consumer, in a group of its own; prints the first COUNT replies to tasks
python_client.py marks TOPIC GROUP                         (offset, metadata) committed for each partition that has one
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

locks = tempfile.TemporaryDirectory(prefix="kser-client-")
os.environ["LOCK_PATH"] = locks.name
for variable in ("RUNNING_FILE", "LOCK_FILE", "TERMINATE_FILE"):
    os.environ[variable] = os.path.join(locks.name, variable)
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]  # there kafka.py is another one

import kafka  # noqa: E402
from cdumay_result import Result  # noqa: E402
from kser.controller import Controller  # noqa: E402
from kser.entry import Entrypoint  # noqa: E402
from kser.python_kafka.consumer import Consumer  # noqa: E402
from kser.python_kafka.producer import Producer  # noqa: E402
from kser.schemas import Message  # noqa: E402

BROKERS = os.environ["KSER_BROKERS"]
if os.environ.get("KSER_SECRETBOX_KEY"):
    from kser_crypto.controller import CryptoController as Controller  # noqa: E402,F811
    from kser_crypto.python_kafka.consumer import CryptoConsumer as Consumer  # noqa: E402,F811
    from kser_crypto.python_kafka.producer import CryptoProducer as Producer  # noqa: E402,F811


def send(topic, entrypoint, params, metadata="{}"):
    message = Message(uuid=str(uuid4()), entrypoint=entrypoint, params=json.loads(params), metadata=json.loads(metadata))
    return Producer({"bootstrap_servers": BROKERS}).send(topic, message)


class Reply(Entrypoint):
    """Runs for each reply: what came with the message is its result."""

    def run(self):
        return Result(uuid=self.uuid)


class Everything(dict):
    def __contains__(self, name):
        return True

    def __missing__(self, name):
        return Reply


def listen(topic, count):
    replies = []

    class Listener(Controller):
        ENTRYPOINTS = Everything()

        @classmethod
        def onsuccess(cls, kmsg, result):
            if kmsg.metadata["kser"].get("kind", "result") == "result":
                replies.append({"entrypoint": kmsg.entrypoint, "retcode": result.retcode, "stdout": result.stdout})
            if len(replies) == int(count):
                print(json.dumps(replies), flush=True)
                os._exit(0)
            return result
        onerror = onsuccess

    class Ears(Consumer):
        REGISTRY = Listener

    Ears({"bootstrap_servers": BROKERS, "group_id": str(uuid4()), "auto_offset_reset": "earliest"}, [topic]).run()


def marks(topic, group):
    consumer = kafka.KafkaConsumer(bootstrap_servers=BROKERS, group_id=group, enable_auto_commit=False)
    partitions = [kafka.TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
    found = [consumer.committed(partition, metadata=True) for partition in partitions]
    return [(entry.offset, entry.metadata) for entry in found if entry]


if __name__ == "__main__":
    said = {"send": send, "listen": listen, "marks": marks}[sys.argv[1]](*sys.argv[2:])
    print(json.dumps(said if isinstance(said, list) else {"retcode": said.retcode, "stdout": said.stdout, "stderr": said.stderr, "uuid": said.uuid}))
