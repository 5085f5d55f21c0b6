"""The compose file and the Dockerfile, as far as they can be judged without a container engine."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compose():
    done = subprocess.run(["docker-compose", "config"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return yaml_of(done.stdout)


def yaml_of(text):
    import yaml  # docker-compose brings it
    return yaml.safe_load(text)


def test_services(compose):
    assert set(compose["services"]) == {"postgres", "kafka", "migrate", "orchestrator", "worker"}
    assert set(compose["volumes"]) == {"postgres", "kafka"}


def test_what_scales_has_neither_a_name_nor_a_port(compose):
    for name in ("worker", "orchestrator"):
        assert not {"container_name", "ports", "hostname"} & set(compose["services"][name]), name


def test_all_that_stays_up_is_checked(compose):
    for name, service in compose["services"].items():
        # The worker's check comes with the image.
        if name not in ("migrate", "worker"):
            assert service["healthcheck"]["test"], name
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()


def test_the_worker_never_sees_the_database(compose):
    assert "KSER_DATABASE_URL" not in json.dumps(compose["services"]["worker"])


def test_the_orchestrator_waits_for_the_migration(compose):
    waits = compose["services"]["orchestrator"]["depends_on"]
    assert waits["migrate"]["condition"] == "service_completed_successfully"
    assert compose["services"]["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_the_image_does_not_run_as_root():
    users = re.findall(r"^USER (\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert users and users[-1] not in ("root", "0")


def packages_of(script, name):
    found = re.search(rf"^{name}=\((.*?)\)$", script, re.S | re.M)
    return set(found.group(1).split())


def test_the_image_is_built_with_what_bootstrap_installs():
    wanted = packages_of((ROOT / "scripts" / "bootstrap").read_text(), "run")
    installs = re.findall(r"apt-get install -y --no-install-recommends (.*?)&&", (ROOT / "Dockerfile").read_text().replace("\\\n", ""), re.S)
    assert set(installs[0].split()) == wanted - {"ca-certificates", "postgresql-15", "postgresql-client-15"}


# Empty where nothing is given, which the programs take for none. PostgreSQL, Kafka and the migration have no use for a key.
def test_who_gets_the_keys(compose):
    with_keys = {name for name, service in compose["services"].items() if "KSER_SECRETBOX_KEY" in (service.get("environment") or {})}
    assert with_keys == {"orchestrator", "worker"}
    for name in with_keys:
        environment = compose["services"][name]["environment"]
        assert environment["KSER_SECRETBOX_KEY_FILE"] == environment["KSER_SECRETBOX_KEY"] == ""
        assert environment["KSER_BROKERS"] == "kafka:9092"
