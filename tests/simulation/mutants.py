"""Bugs to plant."""

class Mutant:
    def __init__(self, what, patches=(), switches=(), scenario=None):
        self.what = what
        self.patches = patches
        self.switches = switches
        self.scenario = scenario


MUTANTS = {}
