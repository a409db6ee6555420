# Two commands on a fresh machine: `make train` and `make test`. Each makes the virtual environment that it needs.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# A process to a core, a thread to a process; worksteal leaves most tests of a file, and what they share, in one of them.
WORKERS ?= 2
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
LONG := browser or emulator or torchrun or compiler or slow

.PHONY: help install train test quick coverage fuzz check format clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: $(INSTALLED) ## Make the virtual environment (.venv) with the tested versions

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

train: $(INSTALLED) ## Train the reference network on CIFAR-10 (make train ARGS="--epochs 2" for other options)
	$(BIN)/thimble train --fallback $(ARGS)

test: $(INSTALLED) ## Run the tests, two at a time (make test WORKERS=8 ARGS="tests/data" for more, or some of them)
	$(PYTEST) $(ARGS)

quick: $(INSTALLED) ## The tests that need no browser, emulator, torchrun or compiler, and no seconds: under a minute
	$(PYTEST) -m "not ($(LONG))" $(ARGS)

coverage: $(INSTALLED) ## The tests, and how much of the code they run: at least 95% of lines and branches, 85% of each file
	$(PYTEST) --cov --cov-report=json:.coverage.json --cov-report= $(ARGS)
	$(BIN)/python scripts/require_coverage.py .coverage.json 95 85

fuzz: $(INSTALLED) ## Five minutes of files that mean harm, and twenty rounds of kills (make fuzz ARGS="--seed 3")
	$(BIN)/python tests/fuzz/fuzz.py --seconds 300 $(ARGS)
	THIMBLE_KILL_ROUNDS=20 $(BIN)/python -m pytest tests/training/test_killed_runs.py

check: $(INSTALLED) ## Lint; check the format, the types and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(INSTALLED) ## Mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Delete the virtual environment and the caches; runs/ stays
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache
