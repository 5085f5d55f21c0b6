"""A kser worker in Python that reports to the orchestrator. Its tasks are those of the queue `py`.

Runs with kser, kser-adapter and their clients installed (scripts/python); KSER_BROKERS says where Kafka is. Sealed where
KSER_SECRETBOX_KEY_FILE names a key, traced where OTEL_EXPORTER_OTLP_ENDPOINT names a receiver.
"""

import logging
import os

from kser_adapter.python_kafka import Consumer

import jobs

if os.environ.get("KSER_SECRETBOX_KEY_FILE"):
    from kser_crypto.controller import CryptoController as Controller
else:
    from kser.controller import Controller


class FleetConsumer(Consumer):
    REGISTRY = Controller


for entrypoint in (jobs.DiceRoll, jobs.DiceLaunch, jobs.Yahtzee):
    Controller.register(entrypoint.path, entrypoint)
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s %(message)s")
logging.getLogger("kafka").setLevel(logging.WARNING)
FleetConsumer({"bootstrap_servers": os.environ["KSER_BROKERS"]}, queue="py").run()
