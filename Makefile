# glidemq: every target does the set-up that it needs; nothing is done twice.
#
#   make run     the main job: measure the running Python's standard library on every core, then exit 0
#   make test    all tests
#   make lint    formatting, types, layers
#   make lock    pin the newest versions that pyproject.toml admits into requirements-dev.lock
#   make bench   the benchmarks of bench/ that need Python alone; `make bench-node` also those against BullMQ
#   make clean   remove what the targets above have made
#
# PYTHON picks the interpreter (3.11 or newer); PYTEST_ARGS is handed to both parts of the tests. TEST_PROCESSES is how
# many tests run at once: more than there are cores, because most of the slow ones wait for deadlines.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PYTEST_ARGS ?=
TEST_PROCESSES ?= 3

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
READY := $(STAMPS)/package
LOCK_TOOLS := build/lock-tools
NODE_MODULES := bench/node/node_modules/.package-lock.json

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Keeps pyright from asking a registry for newer versions of itself on every run.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help setup run test lint lock bench bench-node clean

help:
	@sed -n '3,8s/^#   //p' Makefile

setup: $(READY)

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    || { echo "glidemq needs Python 3.11 or newer with the venv module; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

# Every package is pinned by hash, build tools included, so that what is tested is what was locked.
$(STAMPS)/dependencies: requirements-dev.lock $(STAMPS)/venv
	$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

$(READY): pyproject.toml $(STAMPS)/dependencies
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

run: $(READY)
	@$(BIN)/python -m glidemq.examples.stdlib_metrics

# The tests start hundreds of runtimes of four processes and more. Where bytecode may not be written, each process
# compiles whatever it imports, which is a third of its start.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(READY)
	$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist worksteal -m "not exclusive" $(PYTEST_ARGS)
	$(BIN)/pytest -m exclusive $(PYTEST_ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

$(LOCK_TOOLS)/bin/pip-compile: $(STAMPS)/venv
	$(PYTHON) -m venv $(LOCK_TOOLS)
	$(LOCK_TOOLS)/bin/pip install --quiet pip-tools

# requirements-dev.lock: everything; requirements.lock: what a deployment needs, in the same versions.
PIP_COMPILE = $(LOCK_TOOLS)/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links

lock: $(LOCK_TOOLS)/bin/pip-compile
	$(PIP_COMPILE) --upgrade --extra dev --extra embedded --extra examples --extra vectors \
	    --output-file requirements-dev.lock pyproject.toml
	$(PIP_COMPILE) --constraint requirements-dev.lock --output-file requirements.lock pyproject.toml

bench: $(READY)
	$(BIN)/python -m glidemq_bench.throughput
	$(BIN)/python -m glidemq_bench.cpu_bound
	$(BIN)/python -m glidemq_bench.idle_latency
	$(BIN)/python -m glidemq_bench.limiter
	$(BIN)/python -m glidemq_bench.memory
	$(BIN)/python -m glidemq_bench.job_kinds
	$(BIN)/python -m glidemq_bench.streaming

# `npm ci` would insist on the optional binaries of platforms that a registry mirror may not carry.
$(NODE_MODULES): bench/node/package-lock.json
	npm install --prefix bench/node --no-save --ignore-scripts
	@touch $@

bench-node: $(READY) $(NODE_MODULES)
	$(BIN)/python -m glidemq_bench.throughput --compare bullmq
	$(BIN)/python -m glidemq_bench.idle_latency --compare bullmq

clean:
	rm -rf $(VENV) build dist *.egg-info .glidemq .mypy_cache .ruff_cache .import_linter_cache .hypothesis \
	    .benchmarks bench/node/node_modules
	find runtime supervisor lua bench tests -name __pycache__ -type d -prune -exec rm -rf {} +
