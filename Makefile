SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help up demo test chaos bench schemas check format lock setup clean

help: ## Show the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: setup ## Start everything, stay in the foreground, print addresses and kcat lines (Ctrl-C ends it)
	@exec $(BIN)/orders up --under-make

demo: setup ## Start everything, send a mixed bag of orders, print each order's story
	@exec $(BIN)/orders demo --under-make

test: setup ## Run unit, integration and end-to-end tests over real servers
	@exec $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

chaos: setup ## Kill, freeze and cut parts of the service under load (SEED=, MINUTES=), check every promise (PART=tests: in the long tests)
ifeq ($(PART),tests)
	@exec $(BIN)/python -m pytest -m chaos -s $(ARGS)
else
	@exec $(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)
endif

bench: setup $(VENV)/.ready-bench ## Measure, report in docs/bench (PART=orders and others, ARGS=--quick)
	@exec $(BIN)/python -m bench$(if $(PART),.$(PART)) $(ARGS)

$(VENV)/.ready-bench: requirements/bench.lock $(READY)
	@$(BIN)/python -m pip install --quiet --progress-bar off --disable-pip-version-check --require-hashes -r requirements/bench.lock
	@touch $@

schemas: $(READY) ## Write docs/schemas and docs/asyncapi.json anew from the models
	@$(BIN)/python -m persistence.schemas docs

check: $(READY) ## Lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Let ruff mend style and imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(READY) ## Install what the project needs (all other commands do this by themselves)
	@$(BIN)/python -m devstack.install

$(READY): requirements/dev.lock pyproject.toml
	@echo "Installing Python packages into $(VENV) (a minute or two, once) ..."
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
		{ echo "This Python cannot make a venv with pip (on Debian: apt install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip install --progress-bar off --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

lock: ## Write requirements/*.lock anew from pyproject.toml (hashes, no address)
	@$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet --disable-pip-version-check uv
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		pyproject.toml -o requirements/service.lock
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra dev pyproject.toml -c requirements/service.lock -o requirements/dev.lock
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra bench pyproject.toml -c requirements/dev.lock -o requirements/bench.lock
	@rm -rf .venv-lock

clean: ## Remove the installed packages and the data of make up
	rm -rf $(VENV) .stack
