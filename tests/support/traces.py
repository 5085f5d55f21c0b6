"""A receiver of traces for the tests (scripts/traces), and looks at the trees that it received."""

import json
import subprocess

from support.processes import ROOT, clean_environment
from support.waiting import wait_until


class Traces:
    """The receiver: `endpoint` is where to export to. Refused requests are in `log`."""

    def __init__(self, directory, port=0):
        self.file = directory / "spans.jsonl"
        self.log = directory / "traces.log"
        self.child = subprocess.Popen([ROOT / "scripts" / "traces", "receive", "--port", str(port), self.file], stdout=subprocess.PIPE,
                                      stderr=open(self.log, "ab"), text=True, env=clean_environment())
        line = self.child.stdout.readline()
        assert line.startswith("receiving on "), f"the receiver did not start: {line}{self.log.read_text()}"
        self.endpoint = line.split()[-1]

    def stop(self):
        self.child.terminate()
        self.child.wait(10)

    def spans(self):
        """All whole lines so far."""
        if not self.file.exists():
            return []
        whole, _, _ = self.file.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def wait(self, count, seconds=30):
        """Until at least so many spans are there."""
        return wait_until(lambda: len(self.spans()) >= count and self.spans(), seconds, f"{count} spans")

    def of(self, trace):
        """The spans of one trace, by id; `trace` may be an operation's id."""
        return {span["span"]: span for span in self.spans() if span["trace"] == trace.replace("-", "")}

    def tree(self, trace):
        """What scripts/traces prints of it."""
        return subprocess.run([ROOT / "scripts" / "traces", "tree", self.file, trace], capture_output=True, text=True, check=True, timeout=60).stdout
