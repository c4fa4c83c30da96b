# Two commands do everything on a fresh machine with Python 3.11+: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check plans bench nightly clean

VENV   := .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

# The stamp is newer than its inputs for as long as nothing has to be installed again.
$(VENV)/.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(VENV)/.stamp  ## make .venv with everything in it

demo: setup  ## compile, execute and serve the iris workflow, then ask the server for predictions
	@python -m demo

test: setup  ## run every test
	@pytest -n 2

check: setup  ## format, lint, types and committed plans, as CI does
	ruff format --check .
	ruff check .
	mypy
	@$(MAKE) --no-print-directory plans CHECK=--check

plans: setup  ## compile the ready workflows (CHECK=--check compares instead of writing)
	@for workflow in iris digits; do flowc compile $(CHECK) stdlib.workflows.$$workflow:$$workflow || exit 1; done

bench: setup  ## run the quick benchmarks and write benchmarks/RESULTS.md
	@python -m benchmarks

nightly: setup  ## everything of `make test` and `make bench`, plus what takes long
	@pytest -n 2 -m "slow or not slow"
	@python -m benchmarks

clean:  ## remove what the targets above made
	rm -rf $(VENV) .flow models build dist
