# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check plans bench nightly clean

VENV := .venv
# The first interpreter that is there and new enough; or `make PYTHON=/path/to/python3 ...`
PYTHON ?= $(firstword $(foreach python,python3.11 python3.12 python3.13 python3,$(shell \
            $(python) -c 'import sys; sys.version_info >= (3, 11) and print("$(python)")' 2>/dev/null)))
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

# The stamp is newer than its inputs for as long as nothing has to be installed again.
$(VENV)/.stamp: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(VENV)/.stamp  ## make .venv with everything in it

demo: setup  ## compile, execute and serve a workflow, then ask the server for predictions
	@python demo.py

test: setup  ## run the tests
	@pytest -n 2

check: setup  ## formatting, lint, types, and whether the committed plans are current
	ruff format --check .
	ruff check .
	mypy
	@$(MAKE) --no-print-directory plans CHECK=--check
	flowc check

plans: setup  ## compile the ready workflows
	@for name in iris digits; do flowc compile $(CHECK) stdlib.workflows.$$name:$$name || exit 1; done

bench: setup  ## run the quick benchmarks and write benchmarks/RESULTS.md
	@python -m benchmarks

# How long `nightly` looks for mistakes in the scheduler's core that no test notices: `make nightly MINUTES=5`
MINUTES ?= 60

# A real Triton, which tests/differential asks beside our server: only what it needs, and that is numpy 1.
$(VENV)/triton: $(VENV)/.stamp
	@$(VENV)/bin/python -m venv $@
	@$@/bin/python -m pip install --quiet --disable-pip-version-check --no-deps nvidia-pytriton==0.7.0 numpy==1.26.4 \
	    || { rm -rf $@; echo "no Triton for this Python or machine: tests/differential will be skipped" >&2; }

nightly: setup $(VENV)/triton  ## the tests that take long, mutants of the scheduler's core, and the benchmarks
	@python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[nightly]'
	@pytest -n 2 -m "slow or not slow"
	@python tests/sim/mutants.py --count 300 --minutes $(MINUTES)
	@python -m benchmarks

clean:  ## remove what the targets above made
	rm -rf $(VENV) .flow models build dist
