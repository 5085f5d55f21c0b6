"""A Prometheus of its own that scrapes some programs every second, and promtool."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from support.ports import free_port
from support.processes import ROOT
from support.waiting import wait_until


def programs():
    """The folder of prometheus and promtool."""
    done = subprocess.run([ROOT / "scripts" / "prometheus", "fetch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def check(text):
    """What promtool has to say of an exposition: its lines."""
    done = subprocess.run([f"{programs()}/promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.splitlines()


def get(port, path):
    """Status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


class Prometheus:
    def __init__(self, directory, targets):
        """`targets`: job → port on 127.0.0.1."""
        self.port = free_port()
        jobs = [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for job, port in targets.items()]
        config = directory / "prometheus.yml"
        config.write_text(json.dumps({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}))  # JSON is YAML
        with open(directory / "prometheus.log", "wb") as log:
            self.child = subprocess.Popen([f"{programs()}/prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'prometheus'}",
                                           f"--web.listen-address=127.0.0.1:{self.port}"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def stop(self):
        self.child.terminate()
        self.child.wait(30)

    def query(self, expression):
        """{labels as a sorted tuple of pairs: value} of an instant query; None while it does not answer."""
        try:
            status, body = get(self.port, "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        except OSError:
            return None
        if status != 200:
            return None
        return {tuple(sorted(row["metric"].items())): float(row["value"][1]) for row in json.loads(body)["data"]["result"]}

    def wait_for(self, expression, value, seconds=30):
        """Until the query has one row with that value."""
        wait_until(lambda: list((self.query(expression) or {}).values()) == [value] or None, seconds, f"{expression} = {value}, not {self.query(expression)}")
