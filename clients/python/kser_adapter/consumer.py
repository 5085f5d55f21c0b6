"""What both flavours share: names of topics and groups, and the consumer that fleets make."""

import logging
import os

from kser.controller import Controller

from .worker import Worker

logger = logging.getLogger(__name__)

# What the commits of those say who report before they commit: only they prove that what they passed is answered.
MARK = "kser1"


class Topics:
    """`prefix` and `queue` default to KSER_TOPIC_PREFIX and KSER_QUEUE, as for the other programs."""

    def __init__(self, prefix=None, queue=None):
        prefix = prefix if prefix is not None else os.environ.get("KSER_TOPIC_PREFIX") or "kser"
        self.queue = queue if queue is not None else os.environ.get("KSER_QUEUE", "")
        of_queue = "." + self.queue if self.queue else ""
        self.tasks = prefix + ".tasks" + of_queue
        self.group = prefix + ".workers" + of_queue
        self.results = prefix + ".results"
        self.control = prefix + ".control"


class BaseConsumer:
    """The orchestrator says which topics and groups there are: `config` names the brokers and how to get to them, `prefix` the cell
    and `queue` whose tasks are run. REGISTRY is the controller, as in kser."""

    REGISTRY = Controller
    BROKER = None

    def __init__(self, config, prefix=None, queue=None):
        self.topics = Topics(prefix, queue)
        self.worker = Worker(self.BROKER(config, self.topics), self.REGISTRY, self.topics.queue)

    def run(self):
        """Works until stop() or a signal; the task in hand is finished and reported first."""
        start_metrics()
        logger.info("%s.Starting...", self.__class__.__name__)
        self.worker.run()
        logger.info("Closing consumer and exiting")

    def stop(self):
        self.worker.stop()


def start_metrics():
    """kser's own exporter, as its consumers start it; with KSER_METRICS_PORT as the number that it has to be."""
    import kser
    if kser.KSER_METRICS_ENABLED == "yes":
        from prometheus_client import start_http_server
        logger.info("Metric.Starting...")
        start_http_server(int(os.environ.get("KSER_METRICS_PORT", 8888)), os.environ.get("KSER_METRICS_ADDRESS", "0.0.0.0"))
