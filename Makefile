# Every target sets up what it needs; `make` alone lists them.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install sweep test test-fast check docs mutants slurm mlflow faults bench lock clean
SHELL := /bin/bash

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	command -v $$python >/dev/null && $$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)
RUN := .venv/bin/python
PIP := .venv/bin/python -m pip --disable-pip-version-check
BENCHMARKS ?= $(sort $(wildcard benchmarks/*.py))
# Two files of tests at a time, each process with one thread of its own.
PYTEST := OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n 2 --dist loadfile
# Slow tests wait for others half of their time, and files of few but long ones must not come last.
LONG := -n 3 --no-loadscope-reorder
FAST := not slow and not browser and not slurm and not gpu
SLOW := (slow or browser)
# Tests that this machine can run beside the fast ones; asked once and only by `test`, since a Slurm that is down is slow to say so.
HAS_SLURM = $(eval HAS_SLURM := $(shell sinfo -h -o %T 2>/dev/null | grep -qE 'idle|mixed|alloc' && echo yes))$(HAS_SLURM)
HAS_GPU = $(shell command -v nvidia-smi)
EXTRA = ($(SLOW)$(if $(HAS_SLURM), or (slurm and not faults))$(if $(HAS_GPU), or gpu))$(if $(HAS_SLURM),, and not slurm)$(if $(HAS_GPU),, and not gpu)

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: .venv/.installed-dev  ## make .venv with everything, at the versions of requirements.lock (TORCH="torch==..." takes another torch)

# $(call install,WHAT): make .venv if need be, and install WHAT at the versions of requirements.lock.
define install
	@[ -n "$(PYTHON)" ] || { echo "no Python 3.11, 3.12 or 3.13 found; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@[ -x $(RUN) ] || { echo "making .venv with $(PYTHON)"; $(PYTHON) -m venv .venv; } || { rm -rf .venv; \
		echo "$(PYTHON) can't make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(if $(TORCH),$(PIP) install --quiet $(TORCH) && touch .venv/own-torch)
	@if [ -e .venv/own-torch ]; then grep -v '^torch==' requirements.lock; else cat requirements.lock; fi > .venv/constraints.txt
	@$(RUN) tools/install_project.py -e '$(1)' -c .venv/constraints.txt
endef

# What runs studies; tools for tests and checks come with .installed-dev, which has both.
.venv/.installed: pyproject.toml requirements.lock
	$(call install,.)
	@touch $@

.venv/.installed-dev: pyproject.toml requirements.lock
	$(call install,.[dev])
	@touch .venv/.installed $@

sweep: .venv/.installed  ## plan, fine-tune, evaluate, track and report the default study; ARGS="seeds=[0,1]" overrides
	$(RUN) -m cg_lab sweep $(ARGS)

test: .venv/.installed-dev  ## all tests that this machine can run, fast ones first; installs Chromium and PostgreSQL if they are missing
	bash tests/install_system_packages.sh chromium
	bash tests/install_system_packages.sh postgresql || echo "no PostgreSQL here: the test of the server is left out"
	$(PYTEST) -m "$(FAST)" $(ARGS)
	$(PYTEST) $(LONG) -m "$(EXTRA)" --durations=5 $(ARGS)

test-fast: .venv/.installed-dev  ## tests that are neither slow nor need a browser, Slurm or a GPU
	$(PYTEST) -m "$(FAST)" $(ARGS)

check: .venv/.installed-dev  ## format, lint, types, import contracts, fast tests
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/pyright
	.venv/bin/lint-imports
	$(PYTEST) -m "$(FAST)" $(ARGS)

docs: .venv/.installed  ## write anew what README, docs and experiments say that is printed (ARGS=--check says what would change)
	$(RUN) -m tools.printed $(ARGS)

# Exit status 1 if a mutant survives that tools/mutants.toml gives no reason for.
mutants: .venv/.installed-dev  ## break each rule that makes the science, see whether tests notice (MODULES="cg_lab/analysis/verdict.py")
	$(RUN) tools/mutants.py $(MODULES) $(ARGS)

slurm:  ## install and start a Slurm on this machine, for tests (root; Debian); tests/slurm/stop.sh stops it
	bash tests/slurm/start.sh

mlflow: .venv/.installed-dev  ## run an MLflow server with PostgreSQL for a team; ARGS="--port 5001" (installs Debian's PostgreSQL if it is missing)
	bash tests/install_system_packages.sh postgresql
	$(RUN) -m cg_lab server $(ARGS)

faults: .venv/.installed-dev slurm  ## let everything go wrong on that Slurm: kills, preemption, time limits, silence, a full disk
	$(RUN) -m pytest -v -m slurm --durations=0 $(ARGS)

bench: .venv/.installed-dev  ## measure the figures that the docs quote (BENCHMARKS="benchmarks/one.py" runs one)
	@for script in $(BENCHMARKS); do echo "== $$script"; $(RUN) $$script $(ARGS) || exit 1; done

# A fresh environment, so that nothing that happens to be installed gets into the lock.
lock: .venv/.installed-dev  ## write requirements.lock anew: the newest versions that pyproject.toml allows, torch as it was
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	grep '^torch==' requirements.lock > "$$folder/torch.txt"; \
	$(RUN) -m venv "$$folder/venv"; \
	"$$folder/venv/bin/python" -m pip install --quiet '.[dev]' -c "$$folder/torch.txt"; \
	sed '/^[^#]/,$$d' requirements.lock > "$$folder/lock"; \
	"$$folder/venv/bin/python" -m pip freeze --exclude cg_lab \
		| sed -E 's/\+[a-z0-9.]+$$//; /^(nvidia-|cuda-|triton)/d; / @ /d' >> "$$folder/lock"; \
	cp "$$folder/lock" requirements.lock; \
	git --no-pager diff --stat -- requirements.lock 2>/dev/null || true

clean:  ## remove the environment, caches and build output; results stay
	rm -rf .venv .grimp_cache .hypothesis .import_linter_cache .mutants .pytest_cache .ruff_cache build dist
	find cg_lab tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
