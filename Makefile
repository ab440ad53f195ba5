# The one door. A machine needs python3 (3.11 to 3.14) and make; all else goes into .venv.

PYTHON ?= python3
UV_VERSION := 0.13.9

VENV := .venv
BIN := $(VENV)/bin
UV := $(VENV)/.uv-$(UV_VERSION)
READY := $(VENV)/.ready
SOURCES := $(wildcard sdk functions infra tests)

export JSII_NODE := $(CURDIR)/$(BIN)/node
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: dev test lint types unit soak moto bench cost format clean help

dev: $(READY) ## Run the shop on the local server (ARGS="--port 9000").
	@$(BIN)/stepbridge dev $(ARGS)

test: lint types ## All that must pass: lint, types, tests with coverage, tests on other Pythons.
	$(BIN)/python -m pytest --cov
	.ci/other-pythons

lint: $(READY) ## Lint, formatting, import contracts.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: $(READY) ## Check types as we write them (mypy) and as users see them (pyright).
	$(BIN)/mypy $(SOURCES)
	$(BIN)/pyright

soak: $(READY) ## Try thousands of generated programs with crashes and bad luck; states how many.
	$(BIN)/python -m pytest tests/faults/test_random_programs.py --hypothesis-profile soak --hypothesis-show-statistics --timeout 3600

moto: $(READY) ## Play the scenarios and the acceptance suite on the AWS adapters against moto.
	$(BIN)/python -m pytest tests/scenarios tests/acceptance --backend moto --timeout 300

unit: $(READY) ## Run the unit tests alone (ARGS="-k codec").
	$(BIN)/python -m pytest tests/unit $(ARGS)

bench: $(READY) ## Measure, beside peers from the registries; a table and build/bench.json (ARGS="--no-peers --long").
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venvs/peers $(BIN)/uv sync --quiet --frozen --project tests/bench/peers || \
	    echo "Python peers could not be installed: their rows say so." >&2
	@mkdir -p .venvs/restate && cp tests/bench/peers/package*.json .venvs/restate && \
	    PATH="$(CURDIR)/.venvs/peers/bin:$$PATH" npm ci --prefix .venvs/restate --ignore-scripts --no-audit --no-fund --silent || \
	    echo "Restate's server could not be installed: its rows say so." >&2
	@$(BIN)/python -m tests.bench $(ARGS)

cost: $(READY) ## What a month of runs costs, beside others (ARGS="--runs 1e6 --steps 5 --waits 1").
	@$(BIN)/python -m tests.bench.prices $(ARGS)

format: $(READY) ## Mend what ruff can mend.
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## Remove all that can be made again.
	rm -rf .venv .venvs .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf build cdk.out dist
	find sdk functions infra tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

help: ## Show this list.
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 16

$(READY): pyproject.toml uv.lock $(UV)
	@echo "Filling $(VENV) from uv.lock ..."
	@$(BIN)/uv sync --quiet --frozen --all-groups --all-extras
	@touch $@

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { \
	    echo "stepbridge needs CPython 3.11 to 3.14; \`$(PYTHON)\` is: $$($(PYTHON) --version 2>&1)."; \
	    echo "Name another one, for instance: make $(MAKECMDGOALS) PYTHON=python3.13"; \
	    exit 1; \
	} >&2
	@echo "Making $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@
