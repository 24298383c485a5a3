"""Fixtures of a lab that only pretends to work."""

from tests.pretend import cluster, fails, killed, lab, small_plan

__all__ = ["cluster", "fails", "killed", "lab", "small_plan"]
