"""A real Apache Kafka broker, and what tests put into and read from its topics."""

import os
import subprocess
import tempfile
import uuid
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from support.waiting import wait_until

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "kafka"


class Kafka:
    """One broker of scripts/kafka on a free port, in a directory of its own; KSER_TEST_KAFKA_VERSION chooses the version.
    A test's broker lives for a minute: without the compiler that optimizes, which would take as much CPU as the broker itself."""

    def __init__(self, jvm=("-XX:TieredStopAtLevel=1",)):
        self.jvm = [f"--jvm={flag}" for flag in jvm]
        self.directory = Path(tempfile.mkdtemp(prefix="kser-kafka-"))
        self.version = os.environ.get("KSER_TEST_KAFKA_VERSION", "3.9.1")
        self.producer = None

    def script(self, command, *arguments):
        done = subprocess.run([SCRIPT, command, "--dir", self.directory, *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self):
        self.script("start", "--version", self.version, "--heap", "256m", *self.jvm)

    def stop(self):
        self.script("stop")

    def kill(self):
        self.script("kill")

    def running(self):
        return subprocess.run([SCRIPT, "status", "--dir", self.directory], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def remove(self):
        self.stop()
        self.script("wipe")

    @property
    def brokers(self):
        return f"127.0.0.1:{(self.directory / 'port').read_text().strip()}"

    def admin(self):
        return AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})

    def create(self, topic, partitions=1):
        admin = self.admin()
        for future in admin.create_topics([NewTopic(topic, partitions, 1)], operation_timeout=10).values():
            future.result()
        wait_until(lambda: self.partitions(topic) == partitions, 30, f"topic {topic}")

    def partitions(self, topic):
        """How many partitions a topic has; 0 when there is no such topic."""
        found = self.admin().list_topics(timeout=10).topics.get(topic)
        return len(found.partitions) if found and not found.error else 0

    def produce(self, topic, values, partition=None):
        """Writes `values` (bytes or str) and returns when the broker has acknowledged them all."""
        if self.producer is None:
            self.producer = Producer({"bootstrap.servers": self.brokers, "log_level": 0, "linger.ms": 0, "message.max.bytes": 4 << 20})
        failures = []
        where = {} if partition is None else {"partition": partition}
        for value in values:
            self.producer.produce(topic, value, on_delivery=lambda error, _: failures.append(error) if error else None, **where)
        assert self.producer.flush(30) == 0 and not failures, failures

    def ends(self, topic):
        """End offsets by partition."""
        consumer = self.consumer()
        try:
            return [consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=10)[1] for n in range(self.partitions(topic))]
        finally:
            consumer.close()

    def committed(self, topic, group):
        """Committed offsets of a group by partition; -1001 where there is none."""
        consumer = self.consumer(group)
        try:
            wanted = [TopicPartition(topic, n) for n in range(self.partitions(topic))]
            return [entry.offset for entry in wait_until(lambda: self.committed_of(consumer, wanted), 30, f"the coordinator of {group}")]
        finally:
            consumer.close()

    def committed_of(self, consumer, wanted):
        """None while the group's coordinator is only just being chosen."""
        try:
            return consumer.committed(wanted, timeout=10)
        except KafkaException as reason:
            if reason.args[0].code() not in (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE):
                raise
            return None

    def read(self, topic):
        """All records of a topic up to its ends of now, as messages of confluent_kafka."""
        return self.read_from(topic, {})

    def read_from(self, topic, reached):
        """As read, from the offsets in `reached`, {(topic, partition): offset}, on, which is then moved. What the log no longer has is
        left out."""
        consumer = self.consumer()
        try:
            left, records = {}, []
            for number in range(self.partitions(topic)):
                first, end = wait_until(lambda: self.watermarks(consumer, topic, number), 30, f"the offsets of {topic}")
                reached[topic, number] = max(first, reached.get((topic, number), 0))
                if end > reached[topic, number]:
                    left[number] = end
                else:
                    reached[topic, number] = end  # a topic that was made anew begins again
            consumer.assign([TopicPartition(topic, number, reached[topic, number]) for number in left])

            def whole():
                for record in consumer.consume(1000, timeout=0.2):
                    if record.error():
                        raise KafkaException(record.error())
                    reached[topic, record.partition()] = record.offset() + 1
                    records.append(record)
                return all(reached[topic, number] >= end for number, end in left.items())

            wait_until(whole, 60, f"the records of {topic}", pause=0)
            return records
        finally:
            consumer.close()

    def watermarks(self, consumer, topic, partition):
        """(first offset, end); None while the partition, just made or just back, has no leader."""
        try:
            return consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        except KafkaException:
            return None

    def members(self, group):
        """How many members a consumer group has; 0 while it is not settled."""
        found = self.admin().list_groups(group, timeout=10)
        return len(found[0].members) if found and found[0].state == "Stable" else 0

    def consumer(self, group=None):
        return Consumer({"bootstrap.servers": self.brokers, "log_level": 0, "group.id": group or f"reader-{uuid.uuid4()}",
                         "enable.auto.commit": False, "auto.offset.reset": "earliest"})
