"""Lets a kser 0.8 worker in Python report to the kser orchestrator.

`kser_adapter.python_kafka.Consumer` and `kser_adapter.confluent.Consumer` take the place of kser's own consumers;
entrypoints, operations and controllers stay as they are.
"""

__version__ = "0.1.0"
