# Two commands are enough: `make demo` and `make test`. Each sets itself up.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
ARGS ?=

.PHONY: help setup setup-dev demo up down test test-fast check bench docs clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say which: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)" >&2
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Thunderline with what the demo needs (a minute or two, once)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Thunderline with its test tools (a minute or two, once)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo

setup: $(VENV)/.demo ## Make .venv and install Thunderline into it

setup-dev: $(VENV)/.dev ## The same with the test tools

demo: setup ## Run the main job: spec, rounds, gate, promotion, consumers, refusals, rollback
	@$(BIN)/thunderline demo $(ARGS)

up: setup ## Start the platform in the background
	@$(BIN)/thunderline up --detach $(ARGS)

down: setup ## Stop it
	@$(BIN)/thunderline down $(ARGS)

test: setup-dev ## Run every test (real Postgres, real processes)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope $(ARGS)

test-fast: setup-dev ## Run the tests that take no more than a few seconds each
	@$(BIN)/python -m pytest -n $(WORKERS) -m 'not slow' tests/unit tests/house tests/contract tests/hostile src/thunderline $(ARGS)

check: setup-dev ## Lint, types, import contracts, house rules, generated pages
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy src
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m pytest tests/house -q
	@$(BIN)/python -m docs.generate --check

bench: setup-dev ## Measure speed and memory against peers in the same run
	@$(BIN)/python -m benchmarks $(ARGS)

docs: setup-dev ## Write the generated reference pages anew
	@$(BIN)/python -m docs.generate

clean: ## Remove what the targets above made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist
