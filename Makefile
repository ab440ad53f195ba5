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
.PHONY: dev test lint types audit unit soak poison moto format clean help

dev: $(READY) ## Run the shop on the local server (ARGS="--port 9000").
	@$(BIN)/stepbridge dev $(ARGS)

test: lint types audit ## All that must pass: lint, types, tests with coverage, tests on other Pythons.
	$(BIN)/python -m pytest --cov
	.ci/other-pythons

lint: $(READY) ## Lint, formatting, import contracts, leaked secrets.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	@git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --no-verify --baseline .secrets.baseline

types: $(READY) ## Check types as we write them (mypy) and as users see them (pyright).
	$(BIN)/mypy $(SOURCES)
	$(BIN)/pyright

audit: $(READY) ## Ask the OSV database about every package of uv.lock: one request; no network is no failure.
	@$(BIN)/python .ci/audit

soak: $(READY) ## Try thousands of generated programs with crashes and bad luck; states how many.
	$(BIN)/python -m pytest tests/faults/test_random_programs.py --hypothesis-profile soak --hypothesis-show-statistics --timeout 3600

poison: $(READY) ## Hostile events, and code that kills its sandbox, in every way there is.
	$(BIN)/python -m pytest tests/poison -m "long or not long" --timeout 300

moto: $(READY) ## Play the scenarios and the acceptance suite on the AWS adapters against moto.
	$(BIN)/python -m pytest tests/scenarios tests/acceptance --backend moto --timeout 300

unit: $(READY) ## Run the unit tests alone (ARGS="-k codec").
	$(BIN)/python -m pytest tests/unit $(ARGS)

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
