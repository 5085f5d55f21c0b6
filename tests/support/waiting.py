"""Waiting for a condition, with an end."""

import time


def wait_until(condition, seconds=30, what="the condition", pause=0.05):
    """Calls `condition` until it returns something true, and returns that. Fails the test after `seconds`,
    naming `what` was waited for and what the condition returned last (or raised, when it is an OSError)."""
    limit = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > limit:
            raise AssertionError(f"waited {seconds} s in vain for {what}; last seen: {value!r}")
        time.sleep(pause)


def stays(condition, seconds, what, pause=0.1):
    """Fails the test as soon as `condition` is no longer true within `seconds`: for what must not happen."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        assert condition(), f"no longer so: {what}"
        time.sleep(pause)
