# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
# Debian's own where there is one, as in the image: it is built with every optimisation, and a third faster than many others.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  && echo /usr/bin/python3 || echo python3)
UV_VERSION := 0.13.8
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Images for CI often forbid Python to keep what it compiles. The tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-long coverage fuzz check generate bench cluster-up cluster-down clean

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

demo: .venv/.synced ## Starts a local Kubernetes, installs toolpolicy, breaks a tool and shows what kubectl says (root)
	@$(BIN)/python -m examples.demo

test: check ## Everything: checks, unit, integration on a real API server, end to end on a real node (root)
	@$(BIN)/python -m tests.prepare
	$(PYTEST) tests/e2e tests/integration tests/unit -n 3 --no-loadscope-reorder

coverage: .venv/.synced ## What the unit tests reach
	$(PYTEST) tests/unit -q -n 2 --cov --cov-report=term:skip-covered

test-long: .venv/.synced ## What is too long for every day: 100,000 steps of the state machines against their models
	$(PYTEST) tests/unit -q -n 2 -m long

fuzz: .venv/.synced ## Looks for bytes that a parser cannot take, a minute for each
	@$(BIN)/uv sync --frozen --all-extras --group fuzz --quiet
	@$(BIN)/python -m tests.fuzz

test-fast: .venv/.synced ## The inner loop: unit tests only, two minutes
	$(PYTEST) tests/unit -q -n 2

check: .venv/.synced ## Format, lint, types, layers
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy .
	$(BIN)/lint-imports

generate: .venv/.synced ## Writes the CRD from the models, docs/metrics.md, docs/schemas and the dashboards
	$(BIN)/toolpolicy crd > crds/toolpolicies.yaml.new
	mv crds/toolpolicies.yaml.new crds/toolpolicies.yaml
	cp crds/toolpolicies.yaml charts/toolpolicy/files/toolpolicies.yaml
	$(BIN)/python -m docs.metrics > docs/metrics.md.new
	mv docs/metrics.md.new docs/metrics.md
	$(BIN)/python -m docs.call_schema > docs/schemas/call.v1.json.new
	mv docs/schemas/call.v1.json.new docs/schemas/call.v1.json
	cd charts/toolpolicy/files/dashboards && for name in executive on_call debug; do \
	  file=$${name/_/-}.json; (cd $(CURDIR) && $(BIN)/python -m dashboards.$$name) > $$file.new; mv $$file.new $$file; done

bench: .venv/.synced ## Prints benchmarks; asserts nothing
	@$(BIN)/uv sync --frozen --all-extras --group bench --quiet
	@for file in bench/*.py; do echo "== $$file"; $(BIN)/python -m "bench.$$(basename "$$file" .py)"; done
	@echo "== bench/compare"; $(BIN)/python -m bench.compare

cluster-up: ## Starts the local cluster (root)
	@$(PYTHON) -m localcluster up

cluster-down: ## Ends it and leaves nothing behind
	@$(PYTHON) -m localcluster down

clean: ## Removes the virtual environment and caches of the tools
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .import_linter_cache

# Debian splits venv from Python; everything else comes from the lock file.
.venv/.synced: pyproject.toml uv.lock
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python's venv is missing: installing Debian's python3-venv"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv sync --frozen --all-extras --quiet
	@touch $@
