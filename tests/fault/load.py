"""Steady load: a client that submits operations of three tasks by SQL, with keys, and never gives up on one that was not answered."""

import itertools
import json
import random
import threading
import time

import psycopg2

from fault.ledgers import body_hash

SUBMIT = "select kser.submit(%s, tasks => %s::jsonb, key => %s, key_for => '1 day')::text"
CONNECT = {"connect_timeout": 3, "keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3, "tcp_user_timeout": 5000}
FINAL = (psycopg2.IntegrityError, psycopg2.DataError, psycopg2.ProgrammingError)  # refused for what it says; all else is tried again


class Load:
    """start() … stop(). `url` is the database as this client reaches it (it may be a proxy); `tasks(random)` makes an operation's tasks.
    Of ten acknowledged submits one is repeated (the same id must come back) and repeated with another body (it must be refused)."""

    numbers = itertools.count()

    def __init__(self, url, ledger, tasks, rate=12, seed=0, threads=2):
        self.url = url
        self.ledger = ledger
        self.tasks = tasks
        self.pause = threads / rate
        self.random = random.Random(seed)
        self.over = threading.Event()
        self.patience = 60
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        """Submits nothing new and waits for answers to what was submitted."""
        self.over.set()
        for thread in self.threads:
            thread.join(self.patience + 20)

    def run(self):
        connection = None
        while not self.over.wait(self.pause * self.random.uniform(0.5, 1.5)):
            number = next(Load.numbers)
            name, tasks = f"load-{number}", self.tasks(self.random)
            key = f"{name}-{self.random.getrandbits(64):x}"
            self.ledger.note("intent", key, hash=body_hash(name, tasks))
            connection, id = self.submit_until_answered(connection, name, tasks, key)
            if id and number % 10 == 0:
                connection = self.repeat(connection, name, tasks, key)
        if connection:
            connection.close()

    def submit_until_answered(self, connection, name, tasks, key):
        """(connection or None, id or None)."""
        limit = None
        while True:
            if self.over.is_set():
                limit = limit or time.monotonic() + self.patience
                if time.monotonic() > limit:
                    return connection, None
            try:
                connection = connection or connect(self.url)
                id = submit(connection, name, tasks, key)
                self.ledger.note("ack", key, id=id)
                return connection, id
            except FINAL as reason:
                self.ledger.note("refused", key, why=str(reason)[:200])
                return None, None
            except psycopg2.Error:
                connection = drop(connection)
                time.sleep(0.2)

    def repeat(self, connection, name, tasks, key):
        try:
            self.ledger.note("repeat", key, id=submit(connection, name, tasks, key))
            other = [*tasks, {"entrypoint": "echo", "params": {"text": "another body"}}]
            try:
                self.ledger.note("other", key, id=submit(connection, name, other, key))
            except psycopg2.IntegrityError:
                self.ledger.note("other", key, id=None)
            return connection
        except psycopg2.Error:
            return drop(connection)


def connect(url):
    connection = psycopg2.connect(url, **CONNECT)
    connection.autocommit = True
    return connection


def drop(connection):
    if connection:
        connection.close()


def submit(connection, name, tasks, key):
    with connection.cursor() as cursor:
        cursor.execute(SUBMIT, (name, json.dumps(tasks), key))
        return cursor.fetchone()[0]
