# Everything that a person or a machine runs. Each target sets up what it needs, and is quick when that is there already.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
SEEDS ?= 10000
PYTEST ?=
# Three for two cores: much of a test is waiting for a server.
WORKERS ?= $(shell expr $$(nproc) \* 3 / 2)

define heading
@printf '\n== %s\n' '$(1)'
endef

help: ## show this list
	@echo 'Trimtab: make TARGET'
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18
	@echo 'PYTHON=/path/to/python chooses the interpreter (3.11 or later).'

demo: run-environment ## the whole loop on this machine in under a minute (KEEP=1 leaves it running)
	@$(BIN)/trimtab demo $(if $(filter-out 0,$(KEEP)),--keep)

demo-kubernetes: run-environment ## the loop on a real Kubernetes API server, which is built the first time
	@PYTHONPATH=. $(BIN)/python -m tests.kubernetes.demo

test: lint ## all checks, then all tests, side by side (PYTEST="-k name" narrows the tests, WORKERS=0 runs one at a time)
	$(call heading,control plane for the tests: built once for each machine)
	@$(BIN)/python tests/kubernetes/program.py
	$(call heading,tests: pytest)
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(PYTEST)

lint: environment ## style, format, import contract and types
	$(call heading,style: ruff check)
	@$(BIN)/ruff check --output-format concise
	$(call heading,format: ruff format --check)
	@$(BIN)/ruff format --check
	$(call heading,import contract: lint-imports)
	@$(BIN)/lint-imports --no-logo
	$(call heading,types: mypy --strict)
	@$(BIN)/mypy

simulate: environment ## the engine under seeded faults (SEEDS=10000)
	@$(BIN)/python -m trimtab.testing.simulation --seeds $(SEEDS)

bench: environment ## speed and cost, as ratios in one run
	@worst=0; for script in bench/*.py; do printf '\n== %s\n' "$$script"; $(BIN)/python "$$script" || worst=1; done; exit $$worst

lock: ## choose the versions anew and write requirements/*.txt
	@.ci/lock

clean: ## remove the virtual environment and everything that tools have left
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

environment:
	@.ci/environment dev

run-environment:
	@.ci/environment run

.PHONY: help demo demo-kubernetes test lint simulate bench lock clean environment run-environment
