"""For fleets on confluent-kafka: takes the place of kser.confluent.consumer."""

import logging
import time
from uuid import uuid4

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from .consumer import MARK, BaseConsumer
from .worker import Record, Refused

logger = logging.getLogger(__name__)

OF_CONSUMERS = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "partition.assignment.strategy": "range,roundrobin",
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": False,
}
CONSUMER_DEFAULTS = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1500, "max.poll.interval.ms": 60000, "topic.metadata.refresh.interval.ms": 10000}
PRODUCER_DEFAULTS = {"linger.ms": 0, "message.max.bytes": 1114112, "topic.metadata.refresh.interval.ms": 10000}
OF_PRODUCERS = {"enable.idempotence": True, "acks": "all"}
SHARED = ("bootstrap.servers", "metadata.broker.list", "client.id", "security.", "sasl.", "ssl.", "socket.", "broker.", "api.", "log", "debug", "plugin.", "oauth",
          "reconnect.", "retry.")


class Sent:
    """A record on its way."""

    def __init__(self, producer):
        self.producer = producer
        self.error = None
        self.done = False

    def told(self, error, _):
        self.error = error
        self.done = True

    def acknowledged(self):
        return self.done and self.error is None

    def wait(self, seconds=30):
        """Whether it is acknowledged. Refused: it never will be."""
        limit = time.monotonic() + seconds
        while not self.done and time.monotonic() < limit:
            self.producer.poll(0.05)
        if self.error is not None and self.error.code() in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_MSG_SIZE):
            raise Refused(str(self.error))
        return self.acknowledged()


class Broker:
    def __init__(self, config, topics):
        self.config = dict(config)
        self.topics = topics
        self.consumer = None
        self.ears = None
        self.mine = set()
        shared = {key: value for key, value in self.config.items() if key.startswith(SHARED)}
        self.shared = shared
        self.producer = confluent_kafka.Producer(dict(PRODUCER_DEFAULTS, **dict(shared, **OF_PRODUCERS)))

    # ---- intake ----

    def join(self, assigned, revoked, stopping):
        self.consumer = confluent_kafka.Consumer(dict(CONSUMER_DEFAULTS, **dict(self.config, **dict(OF_CONSUMERS, **{"group.id": self.topics.group}))))

        def on_assign(_, partitions):
            self.mine = {entry.partition for entry in partitions}
            self.consumer.assign(partitions)
            self.consumer.resume(partitions)  # librdkafka keeps a pause over reassignments
            assigned(list(self.mine))

        def on_revoke(_, partitions, lost=False):
            self.mine = set()
            revoked([entry.partition for entry in partitions], lost)
            self.consumer.unassign()

        # An orchestrator makes the topic. To join without it would mean to join again.
        while not partitions_of(self.consumer, self.topics.tasks) and not stopping.wait(0.2):
            pass
        self.consumer.subscribe([self.topics.tasks], on_assign=on_assign, on_revoke=on_revoke, on_lost=lambda c, p: on_revoke(c, p, True))

    def poll(self, seconds):
        message = self.consumer.poll(seconds)
        if message is None:
            return None
        if message.error():
            if message.error().fatal():
                raise KafkaException(message.error())
            if message.error().code() != KafkaError._PARTITION_EOF:
                logger.warning("Consumer.Error: %s", message.error())
            return None
        return Record(message.topic(), message.partition(), message.offset(), message.value())

    def all(self):
        return [TopicPartition(self.topics.tasks, partition) for partition in self.mine]

    def pause(self):
        self.consumer.pause(self.all())

    def resume(self):
        self.consumer.resume(self.all())

    def give_back(self, record):
        try:
            self.consumer.seek(TopicPartition(record.topic, record.partition, record.offset))
        except KafkaException:
            pass  # it is not ours any more: others read it from the committed offset

    def commit(self, partition, offset):
        try:
            self.consumer.commit(offsets=[TopicPartition(self.topics.tasks, partition, offset, MARK)], asynchronous=False)
            return True
        except KafkaException as reason:
            logger.warning("Consumer.Commit: %s", reason)
            return False

    def committed(self, partition):
        return self.consumer.committed([TopicPartition(self.topics.tasks, partition)], timeout=10)[0].offset

    def end(self, partition):
        """As the last fetch told it: to ask would mean to wait until the broker has answered the next fetch, half a second."""
        known = TopicPartition(self.topics.tasks, partition)
        end = self.consumer.get_watermark_offsets(known, cached=True)[1]
        return end if end >= 0 else self.consumer.get_watermark_offsets(known, timeout=10)[1]

    def partitions(self):
        return set(self.mine)

    def leave(self):
        self.consumer.close()

    # ---- reports ----

    def send(self, value, key=None):
        sent = Sent(self.producer)
        try:
            self.producer.produce(self.topics.results, value, key, on_delivery=sent.told)
        except KafkaException as reason:
            sent.told(reason.args[0], None)
        except BufferError:
            sent.told(KafkaError(KafkaError._QUEUE_FULL), None)
        self.producer.poll(0)
        return sent

    # ---- control ----

    def listen(self):
        # librdkafka only reads for a group's member; this one never commits and never joins.
        self.ears = confluent_kafka.Consumer(dict(self.shared, **dict(OF_CONSUMERS, **{"group.id": "{}.ears.{}".format(self.topics.control, uuid4())})))
        self.heard_from = False

    def heard(self, seconds):
        self.producer.poll(0)
        if not self.heard_from and not self.hear_from_end(seconds):
            return []
        return [message.value() for message in self.ears.consume(100, timeout=seconds) if not message.error() and message.value()]

    def hear_from_end(self, seconds):
        """Whether the topic is there by now; it is made by an orchestrator."""
        partitions = partitions_of(self.ears, self.topics.control)
        if not partitions:
            time.sleep(seconds)
            return False
        self.ears.assign([TopicPartition(self.topics.control, partition, confluent_kafka.OFFSET_END) for partition in partitions])
        self.heard_from = True
        return True

    def close(self):
        self.producer.flush(5)
        if self.ears is not None:
            self.ears.close()


def partitions_of(client, topic):
    """The numbers of a topic's partitions; none while there is no such topic, or no broker that says so."""
    try:
        found = client.list_topics(topic, timeout=5).topics.get(topic)
    except KafkaException:
        return []
    return [] if found is None or found.error else list(found.partitions)


class Consumer(BaseConsumer):
    """In place of kser.confluent.consumer.Consumer."""

    BROKER = Broker
