"""The installed tree: what a user gets, and that it works from where it was put."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(binaries, tmp_path_factory):
    prefix = tmp_path_factory.mktemp("installed")
    done = subprocess.run(["cmake", "--install", binaries.parent, "--prefix", prefix], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return prefix


@pytest.mark.parametrize("program", ["kser", "kser-orchestrator", "kser-worker"])
def test_programs_tell_their_version(installed, program):
    done = subprocess.run([installed / "bin" / program, "--version"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0 and done.stdout.strip(), done


# The worker runs where no database can be reached: it must not even load libpq.
def test_the_worker_does_not_load_libpq(installed):
    for path in [installed / "bin" / "kser-worker", *installed.rglob("libkser-worker.so*")]:
        needed = subprocess.run(["ldd", path], stdout=subprocess.PIPE, check=True, text=True).stdout
        assert "libpq" not in needed and "not found" not in needed, f"{path}: {needed}"


def test_a_worker_is_built_against_the_installed_library(installed, tmp_path):
    pc, = installed.rglob("kser-worker.pc")
    environment = {**os.environ, "PKG_CONFIG_PATH": str(pc.parent)}
    flags = subprocess.run(["pkg-config", f"--define-variable=prefix={installed}", "--cflags", "--libs", "kser-worker"],
                           stdout=subprocess.PIPE, check=True, text=True, env=environment).stdout.split()
    for example, standard in (("hello_worker", "c11"), ("dice_worker", "gnu11")):
        source = ROOT / "examples" / f"{example}.c"
        subprocess.run(["cc", f"-std={standard}", "-o", tmp_path / example, source, *flags], check=True)
    library, = {path.parent for path in installed.rglob("libkser-worker.so")}
    done = subprocess.run([tmp_path / "hello_worker", "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, "LD_LIBRARY_PATH": str(library)}, timeout=20)
    assert done.returncode == 0, done.stdout
