"""kser's programs as child processes, each with a log file."""

import os
import signal
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SANITIZER_MARKS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer")
STOP_SECONDS = 30


def clean_environment(**further):
    """This process's environment without what would reach kser or libpq by accident."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KSER_", "PG"))}
    kept.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    kept.update(further)
    return kept


class Process:
    """A running program. Its standard output and error go to `log`; it runs in the root of the checkout."""

    def __init__(self, name, command, log, environment):
        self.name = name
        self.log = log
        self.killed = False
        with open(log, "ab") as output:
            self.child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                          env=environment, cwd=ROOT)

    @property
    def pid(self):
        return self.child.pid

    @property
    def returncode(self):
        return self.child.poll()

    @property
    def running(self):
        return self.child.poll() is None

    def signal(self, number):
        if self.running:
            self.child.send_signal(number)

    def kill(self):
        self.killed = True
        self.signal(signal.SIGKILL)
        self.child.wait(10)

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def terminate(self):
        self.signal(signal.SIGTERM)

    def wait(self, seconds=STOP_SECONDS):
        """The exit code; negative: the signal that ended it. Fails the test when it still runs after `seconds`."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {seconds} s: {self.tail()}") from None

    def stop(self, seconds=STOP_SECONDS):
        """SIGTERM and wait: the exit code."""
        self.terminate()
        return self.wait(seconds)

    def text(self):
        return self.log.read_text(errors="replace")

    def tail(self, lines=40):
        return "\n".join(self.text().splitlines()[-lines:])


class Processes:
    """Starts programs from the folder `binaries` and ends those that are left, in reverse order. Logs go to `directory`."""

    def __init__(self, binaries, directory):
        self.binaries = binaries
        self.directory = directory
        self.started = []

    def start(self, program, *arguments, name=None, environment=None, wrap=None):
        """Starts `program` (a name in the build's bin folder); `name` is that of its log, by default numbered; `wrap` is a
        command that is to run it."""
        name = name or f"{program}-{len(self.started)}"
        process = Process(name, [*(wrap or []), self.binaries / program, *arguments], self.directory / f"{name}.log", clean_environment(**(environment or {})))
        self.started.append(process)
        return process

    def run(self, program, *arguments, input=None, seconds=60, environment=None):
        """Runs a program to its end: a CompletedProcess with stdout and stderr as text."""
        done = subprocess.run([str(self.binaries / program), *map(str, arguments)], input=input or "", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=seconds, env=clean_environment(**(environment or {})), cwd=ROOT)
        marks = [mark for mark in SANITIZER_MARKS if mark in done.stderr]
        assert not marks, f"{program}: {done.stderr}"
        return done

    def end_all(self):
        """Asks all to leave, kills who does not, and returns what was wrong (still there, crashed, a sanitizer's words): one
        text each."""
        wrong = []
        for process in reversed(self.started):
            process.thaw()
            process.terminate()
        for process in reversed(self.started):
            try:
                process.wait()
            except AssertionError as reason:
                process.kill()
                wrong.append(str(reason))
        for process in self.started:
            if process.returncode < 0 and not process.killed:
                wrong.append(f"{process.name} was ended by signal {-process.returncode}")
            wrong += [f"{process.name}: {line}" for line in process.text().splitlines() if any(mark in line for mark in SANITIZER_MARKS)]
        return wrong
