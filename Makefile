# Two commands on a fresh machine: `make train` and `make test`. Each makes the virtual environment that it needs.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install train test fuzz check format clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: $(INSTALLED) ## Make the virtual environment (.venv) with the tested versions

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

train: $(INSTALLED) ## Train the reference network on CIFAR-10 (make train ARGS="--epochs 2" for other options)
	$(BIN)/thimble train --fallback $(ARGS)

test: $(INSTALLED) ## Run the tests
	$(BIN)/python -m pytest $(ARGS)

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
