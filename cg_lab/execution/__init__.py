"""Run a plan: packs of jobs on this machine, watched, stopped and resumed."""
