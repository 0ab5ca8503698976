# One word runs each thing; each sets up what it needs first, and that is quick when it is there.
#
#   make demo    a simulated robot, the planner node, the service and an operator, in a terminal
#   make test    all tests
#   make bench   the benchmark
#   make lint    what CI checks before the tests
#   make format  lay the code out
#   make setup   the virtual environment: packages, ROS 2 from its wheels, messages built by colcon
#   make docs    the documentation site, in out/site; a broken link is an error
#   make colcon  both packages built and tested by colcon as ROS users do, warnings as errors
#   make proto   the generated code of the wire and of stories, from their .proto files
#   make clean   remove what the above made
#
# ARGS passes options on:       make demo ARGS='--task "stack the red block on the blue one"'
# PYTHON picks the interpreter: make setup PYTHON=python3.12   (3.11 or 3.12)
# TESTERS: how many processes share the tests; 0 runs them in pytest's own.
# TORCH_INDEX: without it pip may choose a torch that brings several GB of CUDA libraries. Give the
#   address of the CPU wheels that PyTorch's installation page names, and that build is taken:
#   make setup TORCH_INDEX=https://...
# PIP_EXTRA: any further options of pip install.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup demo test bench lint format docs colcon proto clean

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
ARGS ?=
TESTERS ?= 2
TORCH_INDEX ?=
PIP_EXTRA ?=
# The first of these that runs (a name on PATH may be a stub), else the last for its error message.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1 && break; \
	done; echo $$p)
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_EXTRA)
# of the set-up; these are installed by who needs them
OPTIONAL := requirements/docs.txt requirements/ray%.txt requirements/tensorboard.txt
REQUIREMENTS := $(filter-out $(OPTIONAL),$(wildcard requirements/*.txt))
MESSAGES := $(shell find msgs -type f)

help:
	@sed -n '3,12s/^# \{0,1\}//p' Makefile

setup: $(STAMPS)/package $(STAMPS)/messages

demo: setup
	$(BIN)/emu-planner demo $(ARGS)

test: setup
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadgroup $(ARGS)

bench: setup
	$(BIN)/emu-planner bench $(or $(ARGS),quick)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup $(STAMPS)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "open out/site/index.html"

# Some minutes, so no part of `test`. ARGS: which tests colcon runs, the quick ones of the packages unless told.
colcon: setup
	$(BIN)/python -m tools.check_colcon $(ARGS)

# An old generator in an environment of its own: its code loads on every protobuf from 3.20 on.
# It has wheels for Python 3.11, none for 3.12.
proto: $(STAMPS)/environment
	rm -rf $(VENV)-proto
	$(BIN)/python -m venv $(VENV)-proto
	$(VENV)-proto/bin/python -m pip install --disable-pip-version-check --quiet 'setuptools<81' grpcio-tools==1.51.3
	$(VENV)-proto/bin/python tools/generate_proto.py $(ARGS)
	rm -rf $(VENV)-proto

clean:
	rm -rf $(VENV) $(VENV)-proto out build *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf ros2_ws/build ros2_ws/install ros2_ws/log
	find emu_planner sim tests tools launch -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the set-up, step by step -----------------------------------------------------------------

$(STAMPS)/environment: tools/check_machine.py
	@command -v $(PYTHON) >/dev/null || { echo "No Python here; run: apt-get install python3 python3-venv python3-dev" >&2; exit 1; }
	@$(PYTHON) tools/check_machine.py
	@echo "set-up 1/4: the virtual environment $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS)
	@touch $@

# pybullet has no wheel for every Python: where pip builds it, numpy and setuptools must be there
# before, hence the two steps, and isNumpyEnabled tells whether that build came out right.
$(STAMPS)/packages: $(STAMPS)/environment $(REQUIREMENTS)
	@echo "set-up 2/4: packages (some minutes; pybullet is built where it has no wheel)"
	@$(PIP) -c requirements/constraints.txt setuptools==79.0.1 wheel -r requirements/base.txt
	@$(PIP) --no-build-isolation -r requirements/sim.txt
	@$(BIN)/python -c 'import pybullet; assert pybullet.isNumpyEnabled()' >/dev/null || \
		$(PIP) --no-build-isolation --no-deps --no-cache-dir --force-reinstall --no-binary pybullet -r requirements/sim.txt
	@$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements/model.txt
	@$(PIP) -r requirements/console.txt -r requirements/dev.txt -r requirements/ros.txt -r requirements/export.txt
	@touch $@

$(STAMPS)/docs: $(STAMPS)/packages requirements/docs.txt requirements/constraints.txt
	@$(PIP) -r requirements/docs.txt
	@touch $@

$(STAMPS)/messages: $(STAMPS)/packages $(MESSAGES) tools/build_messages.py
	@echo "set-up 3/4: the ROS messages (about a minute)"
	@$(BIN)/python tools/build_messages.py
	@touch $@

$(STAMPS)/package: $(STAMPS)/packages setup.py setup.cfg
	@echo "set-up 4/4: emu_planner itself"
	@$(PIP) --no-build-isolation --no-deps -e .
	@touch $@
