"""For fleets on kafka-python: takes the place of kser.python_kafka.consumer."""

import inspect
import logging
import time

import kafka
from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError, MessageSizeTooLargeError

from .consumer import MARK, BaseConsumer
from .worker import Record, Refused

logger = logging.getLogger(__name__)

# Older releases go on behind the batch that they had fetched when a partition is paused, and lose the rest of it, unless they are
# told where to go on. Newer ones must not be asked for their position here: it may wait for the thread that tells of a rebalance.
FORGETFUL = tuple(int(part) for part in kafka.__version__.split(".")[:2]) < (2, 3)

OF_CONSUMERS = {
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "partition_assignment_strategy": (RangePartitionAssignor, RoundRobinPartitionAssignor),
    "value_deserializer": None,
    "key_deserializer": None,
}
if "allow_auto_create_topics" in KafkaConsumer.DEFAULT_CONFIG:
    OF_CONSUMERS["allow_auto_create_topics"] = False
CONSUMER_DEFAULTS = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 1500, "max_poll_interval_ms": 60000, "metadata_max_age_ms": 10000, "max_poll_records": 100}
PRODUCER_DEFAULTS = {"max_request_size": 1114112, "metadata_max_age_ms": 10000, "retries": 1000000}
OF_PRODUCERS = {"acks": "all"}
COMMIT_LIMIT = {"timeout_ms": 3000} if "timeout_ms" in inspect.signature(KafkaConsumer.commit).parameters else {}
# Properties that producers and consumers both know, but mean something else by, or that this module sets.
NOT_SHARED = ("key_serializer", "value_serializer", "metrics_enabled", "metric_group_prefix", "acks", "retries", "transactional_id")


class Sent:
    """A record on its way."""

    def __init__(self, future=None, error=None):
        self.future = future
        self.error = error

    def acknowledged(self):
        return self.error is None and self.future.succeeded()

    def wait(self, seconds=30):
        """Whether it is acknowledged. Refused: it never will be."""
        try:
            if self.error is not None:
                raise self.error
            self.future.get(timeout=seconds)
            return True
        except MessageSizeTooLargeError as reason:
            raise Refused(str(reason)) from None
        except KafkaError as reason:
            logger.warning("Producer.Failed: %s", reason)
            return False


class Broker(ConsumerRebalanceListener):
    def __init__(self, config, topics):
        self.config = dict(config)
        self.topics = topics
        self.consumer = None
        self.ears = None
        self.shared = {key: value for key, value in self.config.items() if key in KafkaProducer.DEFAULT_CONFIG and key not in NOT_SHARED}
        self.producer = KafkaProducer(**dict(PRODUCER_DEFAULTS, **dict(self.shared, **OF_PRODUCERS)))
        self.mine = frozenset()
        self.rebalancing = False
        self.positions = {}

    def partition(self, number):
        return TopicPartition(self.topics.tasks, number)

    # ---- intake ----

    def join(self, assigned, revoked, stopping):
        self.assigned = assigned
        self.revoked = revoked
        self.consumer = KafkaConsumer(**dict(CONSUMER_DEFAULTS, **dict(self.config, **dict(OF_CONSUMERS, group_id=self.topics.group))))
        # An orchestrator makes the topic. To join without it would mean to join again.
        while not self.consumer.partitions_for_topic(self.topics.tasks) and not stopping.wait(0.2):
            pass
        self.consumer.subscribe([self.topics.tasks], listener=self)

    def on_partitions_assigned(self, assigned):
        self.mine = frozenset(entry.partition for entry in assigned)
        self.positions = {}
        self.rebalancing = True
        self.resume()  # release 3 keeps a pause over reassignments
        self.assigned(list(self.mine))
        self.rebalancing = False

    def on_partitions_revoked(self, revoked):
        self.let_go(revoked, False)

    def on_partitions_lost(self, lost):
        self.let_go(lost, True)

    def let_go(self, gone, lost):
        self.mine = frozenset()
        self.rebalancing = True
        self.revoked([entry.partition for entry in gone], lost)
        self.rebalancing = False

    def poll(self, seconds):
        for records in self.consumer.poll(timeout_ms=int(seconds * 1000), max_records=1).values():
            for record in records:
                return Record(record.topic, record.partition, record.offset, record.value)
        return None

    def give_back(self, record):
        try:
            self.consumer.seek(self.partition(record.partition), record.offset)
        except (KafkaError, AssertionError):
            pass  # it is not ours any more: others read it from the committed offset

    def pause(self):
        paused = [self.partition(number) for number in self.mine]
        self.consumer.pause(*paused)
        if FORGETFUL and not self.rebalancing:
            self.positions = {partition: self.consumer.position(partition) for partition in paused}

    def resume(self):
        for partition, position in self.positions.items():
            if partition.partition in self.mine and position is not None:
                self.consumer.seek(partition, position)
        self.positions = {}
        self.consumer.resume(*[self.partition(number) for number in self.mine])

    def commit(self, partition, offset):
        """Whether it got through, as far as can be told. While the group shares its partitions anew it is waited for no longer than
        the group can wait for this member."""
        offsets = {self.partition(partition): offset_and_mark(offset)}
        try:
            if self.rebalancing:
                self.consumer.commit_async(offsets)  # a listener may not wait, since release 3
            else:
                self.consumer.commit(offsets, **COMMIT_LIMIT)
            return True
        except KafkaError as reason:
            logger.warning("Consumer.Commit: %s", reason)
            return False

    def committed(self, partition):
        found = self.consumer.committed(self.partition(partition))
        return -1 if found is None else found

    def end(self, partition):
        """As the last fetch told it: to ask would mean to wait until the broker has answered the next fetch, half a second."""
        known = self.partition(partition)
        end = self.consumer.highwater(known)
        return end if end is not None else self.consumer.end_offsets([known])[known]

    def partitions(self):
        return set(self.mine)

    def leave(self):
        self.consumer.close()

    # ---- reports ----

    def send(self, value, key=None):
        try:
            return Sent(self.producer.send(self.topics.results, value, key=key))
        except KafkaError as reason:
            return Sent(error=reason)

    # ---- control ----

    def listen(self):
        known = {key: value for key, value in self.shared.items() if key in KafkaConsumer.DEFAULT_CONFIG}
        self.ears = KafkaConsumer(**dict(known, **dict(OF_CONSUMERS, group_id=None, metadata_max_age_ms=10000)))
        self.heard_from = False

    def heard(self, seconds):
        if not self.heard_from and not self.hear_from_end(seconds):
            return []
        return [record.value for records in self.ears.poll(timeout_ms=int(seconds * 1000)).values() for record in records if record.value]

    def hear_from_end(self, seconds):
        """Whether the topic is there by now; it is made by an orchestrator."""
        partitions = self.ears.partitions_for_topic(self.topics.control)
        if not partitions:
            time.sleep(seconds)
            return False
        assigned = [TopicPartition(self.topics.control, number) for number in partitions]
        self.ears.assign(assigned)
        self.ears.seek_to_end(*assigned)
        self.heard_from = True
        return True

    def close(self):
        self.producer.close(timeout=5)
        if self.ears is not None:
            self.ears.close()


def offset_and_mark(offset):
    """Later releases have the leader's epoch as a third field."""
    return OffsetAndMetadata(*((offset, MARK) + (-1,) * (len(OffsetAndMetadata._fields) - 2)))


class Consumer(BaseConsumer):
    """In place of kser.python_kafka.consumer.Consumer."""

    BROKER = Broker
