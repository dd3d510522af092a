# emforce: two commands do everything on a fresh Debian machine:  make run   make test
#
# MPI=1 works in a virtual environment of its own (.venv-mpi) with GPAW compiled for MPI.

SPECS  ?= structures/cu100-adatom.toml structures/w110-adatom.toml
PRESET ?= quick
PYTEST ?=

ifeq ($(MPI),1)
BUILD := mpi
VENV  := .venv-mpi
else
BUILD := serial
VENV  := .venv
endif
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup run services test test-slurm lint lock clean distclean

help:       ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo "  variables: SPECS=\"$(SPECS)\"  PRESET=$(PRESET)  PYTEST=\"pytest options\"  MPI=1  PYTHON=python3"

setup:      ## Debian packages, virtual environment, pinned Python packages, GPAW
	@scripts/setup.sh $(BUILD) $(VENV)

run: setup  ## the main job: wind force on a Cu(100) and a W(110) surface atom
	@$(VENV)/bin/emforce run $(SPECS) --preset $(PRESET)
	@$(VENV)/bin/emforce plot --format png --format pdf
	@$(VENV)/bin/emforce check

services:   ## what the tests run against: PostgreSQL, Chromium
	@scripts/services.sh

test: setup services ## every test but the slow production checks
	@EMFORCE_REQUIRE_SERVICES=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(PYTEST)

test-slurm: setup ## a campaign on a real SLURM of two virtual nodes, which it installs, starts and stops
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(VENV)/bin/python -m pytest tests/test_slurm.py -m slurm -s $(PYTEST)

lint: setup ## ruff and mypy
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

lock: setup ## pin the packages of pyproject.toml again, without addresses
	$(VENV)/bin/uv pip compile pyproject.toml --extra dev --generate-hashes --universal \
	    --no-emit-index-url --no-header --no-annotate -o requirements.lock

clean:      ## remove caches and build leftovers; results stay
	rm -rf build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find emforce tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## clean, and remove the virtual environments
	rm -rf .venv .venv-mpi .venv.lock .venv-mpi.lock
