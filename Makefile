# The one door. A machine needs python3 (3.11 to 3.14) and make; all else goes into .venv.

PYTHON ?= python3
UV_VERSION := 0.13.9

VENV := .venv
BIN := $(VENV)/bin
UV := $(VENV)/.uv-$(UV_VERSION)
READY := $(VENV)/.ready
E2E := .venvs/e2e
E2E_READY := $(E2E)/.ready
SOURCES := $(wildcard sdk functions infra tests)
# One more than two cores: some tests wait for processes of their own.
WORKERS ?= 3

export JSII_NODE := $(CURDIR)/$(BIN)/node
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
# All that `help` lists.
.PHONY: $(shell sed -n 's/^\([a-z0-9]*\):.*## .*/\1/p' Makefile)

dev: $(READY) ## Run the shop on the local server (ARGS="--port 9000").
	@$(BIN)/stepbridge dev $(ARGS)

test: lint types audit ## All that must pass: lint, types, tests, tests on other Pythons.
	@sh .ci/chromium
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
	.ci/other-pythons

coverage: $(READY) ## The tests once more, traced line by line; fails below 96 %.
	@sh .ci/chromium
	$(BIN)/python -m pytest --cov -n $(WORKERS) --dist loadfile

lint: $(READY) ## Lint, formatting, import contracts, leaked secrets.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	@git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --no-verify --baseline .secrets.baseline

types: $(READY) ## Check types as we write them (mypy) and as users see them (pyright).
	$(BIN)/mypy $(SOURCES)
	$(BIN)/pyright

audit: $(READY) ## Ask PyPI what is known against every package of uv.lock; no network is no failure.
	@$(BIN)/python .ci/audit

soak: $(READY) ## Try thousands of generated programs and of storms; states how many.
	$(BIN)/python -m pytest tests/faults/test_random_programs.py tests/simulator \
	    tests/unit/test_expression.py --hypothesis-profile soak \
	    --hypothesis-show-statistics --schedules 20000 --timeout 3600

kills: $(READY) ## Kill dispatcher processes, several at once, until 1,000 runs are through (ARGS="--runs 100").
	$(BIN)/python -m tests.kills.drill $(ARGS)

load: $(READY) ## A burst of 5,000 events and a steady flow on the dev server, beside the engine alone (ARGS="--burst 500").
	$(BIN)/python -m tests.load $(ARGS)

mutants: $(READY) ## Break the laws one at a time in a copy, and see whether the suite notices (ARGS="-k lease").
	$(BIN)/python -m tests.mutants.run $(ARGS)

poison: $(READY) ## Hostile events, and code that kills its sandbox, in every way there is.
	$(BIN)/python -m pytest tests/poison -m "long or not long" --timeout 300

moto: $(READY) ## Play scenarios, acceptance cases and waits on the AWS adapters against moto.
	$(BIN)/python -m pytest tests/scenarios tests/acceptance tests/waits --backend moto --timeout 300 -rs -n $(WORKERS) --dist loadfile

e2e: $(READY) $(E2E_READY) ## Deploy with the real CDK CLI to an emulator, use it, update it, destroy it (6 min).
	$(BIN)/python -m pytest tests/e2e --timeout 900 --durations 5

pictures: $(READY) ## Make the pictures of the guide anew.
	@sh .ci/chromium
	$(BIN)/python -m tests.console.pictures

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

reference: $(READY) ## Write docs/reference.md from the docstrings.
	$(BIN)/python docs/make_reference.py

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

$(E2E_READY): $(READY) tests/e2e/requirements.txt tests/e2e/package-lock.json
	@echo "Filling $(E2E) ..."
	@rm -rf $(E2E)
	@$(BIN)/uv venv --quiet --python $(BIN)/python $(E2E)
	@$(BIN)/uv pip install --quiet --python $(E2E)/bin/python --requirements tests/e2e/requirements.txt
	@cp tests/e2e/package.json tests/e2e/package-lock.json $(E2E)
	@PATH=$(CURDIR)/$(BIN):$$PATH npm ci --silent --no-audit --no-fund --prefix $(E2E)
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
