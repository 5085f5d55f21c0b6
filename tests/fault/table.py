"""Brings all faults into the table: each module of faults puts its own in when it is imported."""

from importlib import import_module


def load_faults():
    for name in ("points", "processes", "database", "broker", "inputs", "clocks", "promises", "sealing"):
        import_module(f"fault.{name}")
