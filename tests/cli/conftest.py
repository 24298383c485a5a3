"""Fixtures of a lab that only pretends to work."""

from tests.cli.small_study import finished, root, trainer
from tests.pretend import cluster, fails, killed, lab, small_plan

__all__ = ["cluster", "fails", "finished", "killed", "lab", "root", "small_plan", "trainer"]
