# Two commands to begin with: `make run` and `make test`. `make help` lists the rest.

PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin

# With pip's own defaults and nothing asked; what it installs is fixed by the hashes in the locks.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-package afterwards-client --no-config

# A stamp is younger than the lock it installed; while that is so, nothing is installed again.
RUNTIME := $(VENV)/runtime.stamp
DEVELOPMENT := $(VENV)/development.stamp

TOOLS := $(VENV)/tools

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install run example test test-all test-machines quick tools database check lint format typecheck chaos flood \
	bench load load-ui load-tools browser screenshots deploy-test vendor lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(RUNTIME) ## make .venv with the locked dependencies; .venv/bin/afterwards then works

run: $(RUNTIME) ## start the service on http://127.0.0.1:8000 (settings: docs/configuration.md)
	@exec $(BIN)/afterwards serve

# Everything is in a temporary folder. With ONCE=1 it ends by itself, with status 0 if all went well.
example: $(DEVELOPMENT) ## run a small shop that uses the whole service: examples/shop (ONCE=1 ends by itself)
	@cd examples && exec ../$(BIN)/python -m shop.demonstration $(if $(ONCE),--once)

# A run starts a thousand processes, of which each would compile what it imports: half of its time,
# where the environment says that no bytecode is to be written.
test test-all test-machines quick: export PYTHONDONTWRITEBYTECODE :=

# Many tests wait for processes to start, end or run out of time, so there are more test processes
# than processors. A file stays with one of them, and the longest begin. Those that take times come
# last, on their own, and without coverage, which would be part of the times.
test: check tools ## run lint, format, types and all but the longest tests
	@EXAMPLES_AT_MOST=20 $(BIN)/python -m pytest --quiet --numprocesses 6 --dist loadfile \
		--no-loadscope-reorder -m 'not engine and not machines and not measures and not thorough'
	@$(BIN)/python -m pytest --quiet --numprocesses 2 --dist worksteal -m measures

test-all: check tools ## run every test there is, with coverage: what CI runs
	@$(BIN)/python -m pytest --numprocesses 6 --dist loadfile --no-loadscope-reorder \
		-m 'not engine and not machines and not measures' --cov --cov-report=term
	@$(BIN)/python -m pytest --quiet --numprocesses 2 --dist worksteal -m measures

test-machines: $(DEVELOPMENT) database ## run the tests of more than one machine: Dask, PostgreSQL
	@$(BIN)/python -m pytest --quiet --numprocesses 2 --dist loadfile -m 'machines and not engine'

quick: check ## run lint, types and the quick tests: under a minute
	@EXAMPLES_AT_MOST=20 $(BIN)/python -m pytest --quiet --numprocesses 3 --dist worksteal \
		-m 'not engine and not machines and not processes and not measures'

tools: load-tools browser ## get promtool, nginx, caddy, chromium, wrk and strace, which some tests need
	@for tool in promtool nginx caddy; do \
		command -v $$tool >/dev/null || test -x $(TOOLS)/$$tool \
			|| $(MAKE) --no-print-directory $(TOOLS)/$$tool 2>/dev/null \
			|| echo "$$tool is not to be had here; the tests that need it say so."; \
	done

check: lint typecheck ## run the checks that run nothing: lint, format, types

lint: $(DEVELOPMENT) ## ruff: rules and format
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

format: $(DEVELOPMENT) ## let ruff repair what it can, and format
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

typecheck: $(DEVELOPMENT) ## mypy, strict
	@$(BIN)/mypy app clients/python/afterwards_client examples executors loadtests tests

SECONDS ?= 600
SEED ?= 1
chaos: $(DEVELOPMENT) ## kill the service's processes at random for SECONDS=600, with SEED=1, and count effects
	@$(BIN)/python -m tests.chaos --seconds $(SECONDS) --seed $(SEED)

SUBMISSIONS ?= 1000000
flood: $(DEVELOPMENT) ## throw SUBMISSIONS=1000000 at a slow service and watch its memory
	@SUBMISSIONS=$(SUBMISSIONS) $(BIN)/python -m pytest -s tests/reliability/test_overload.py -k memory

deploy-test: $(DEVELOPMENT) ## build the image and try the Compose deployment out (needs Docker)
	@$(BIN)/python -m pytest tests/deploy -m engine

# With BESIDE=CHECKOUT another checkout of the service, too, in turn with this one.
bench: $(DEVELOPMENT) load-tools browser ## measure it beside plain FastAPI: ONLY=post WORKERS=1 ROUNDS=5 BESIDE=CHECKOUT
	@$(BIN)/python -m loadtests.bench $(if $(ONLY),--only $(ONLY)) $(if $(BESIDE),--beside $(BESIDE)) \
		$(if $(WORKERS),--workers $(WORKERS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(BENCH)

USERS ?= 50
load: SECONDS = 30
load: $(DEVELOPMENT) ## have USERS=50 use it for SECONDS=30 (Locust), and judge
	@$(BIN)/python -m loadtests.load --users $(USERS) --seconds $(SECONDS)

load-ui: $(DEVELOPMENT) ## the same on Locust's web page, http://127.0.0.1:8089
	@$(BIN)/python -m loadtests.load --users $(USERS) --ui

# Only root can install these, and whoever needs one that is missing says so himself.
define apt_install
	@for tool in $(1); do \
		command -v $$tool >/dev/null && continue; \
		test "$$(id -u)" = 0 || { echo "$$tool is missing: apt-get install $$tool"; continue; }; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get -qq install $$tool >/dev/null 2>&1 \
			|| { apt-get -qq update && apt-get -qq install $$tool; } >/dev/null 2>&1 \
			|| echo "$$tool is not to be had here."; \
	done
endef

# wrk makes the load of the benchmark; strace sees whether tasks are synced.
load-tools:
	$(call apt_install,wrk strace)

# Debian starts a server and makes a cluster of its own with the package: neither is wanted here.
# While it is installed a policy (invoke-rc.d(8)) says so; one that is there already stays.
database: ## get PostgreSQL, whose servers tests start themselves
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || { \
		test "$$(id -u)" = 0 || { echo "PostgreSQL is missing: apt-get install postgresql"; exit 0; }; \
		policy=/usr/sbin/policy-rc.d; \
		test -e $$policy || { printf '#!/bin/sh\nexit 101\n' >$$policy; chmod +x $$policy; \
			trap 'rm -f '$$policy EXIT; }; \
		mkdir -p /etc/postgresql-common; \
		test -e /etc/postgresql-common/createcluster.conf \
			|| echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get -qq install postgresql >/dev/null 2>&1 \
			|| { apt-get -qq update && apt-get -qq install postgresql; } >/dev/null 2>&1 \
			|| echo "PostgreSQL is not to be had here."; \
	}

# Opens the dashboard in tests and in the benchmark.
browser:
	$(call apt_install,chromium)

# What this makes is committed. It lives a day on a clock of its own, which takes a minute.
screenshots: $(DEVELOPMENT) browser ## take the pictures of the dashboard in docs/pictures anew
	@$(BIN)/python -m tests.pictures

# The service needs neither: what this makes is committed.
vendor: ## bundle anew what the dashboard and its tests take from others (needs npm)
	@packages=$$(mktemp -d) && trap 'rm -rf "$$packages"' EXIT \
		&& cp vendoring/package.json vendoring/package-lock.json "$$packages" \
		&& (cd "$$packages" && npm ci --no-audit --no-fund --loglevel=error) \
		&& node vendoring/build.mjs "$$packages" \
			app/afterwards/dashboard/static/vendor tests/dashboard/vendor

lock: ## write the locks anew from pyproject.toml (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/"; exit 1; }
	$(LOCK) --upgrade --group build --extra traces pyproject.toml -o requirements.lock
	$(LOCK) --upgrade --extra dask --extra postgresql -c requirements.lock pyproject.toml \
		-o requirements-machines.lock
	$(LOCK) --upgrade --group build --extra dask --extra postgresql --extra traces --extra dev -c requirements.lock \
		-c requirements-machines.lock pyproject.toml -o requirements-dev.lock

clean: ## remove .venv and every cache; data/ and outputs/ stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* \
		dist clients/python/dist
	find app clients examples executors loadtests tests -name __pycache__ -type d -prune \
		-exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "Afterwards needs Python 3.11 to 3.13; name one with PYTHON=python3.12"; exit 1; }
	@echo "Making $(VENV); this is done once and takes a minute."
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "On Debian: apt-get install python3-venv"; exit 1; }

# --no-deps and --no-build-isolation: the lock is the whole truth, the build backend included.
$(RUNTIME): requirements.lock pyproject.toml clients/python/pyproject.toml | $(BIN)/python
	@$(PIP) install --require-hashes --no-deps -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable . --editable clients/python
	@touch $@

$(DEVELOPMENT): requirements-dev.lock $(RUNTIME)
	@$(PIP) install --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

# Out of Debian's packages, which are not installed: that would start services. The lists of packages
# may be missing; only root can get them.
$(TOOLS)/promtool: PACKAGE := prometheus
$(TOOLS)/promtool: FILE := usr/bin/promtool
$(TOOLS)/nginx: PACKAGE := nginx
$(TOOLS)/nginx: FILE := usr/sbin/nginx
$(TOOLS)/caddy: PACKAGE := caddy
$(TOOLS)/caddy: FILE := usr/bin/caddy
$(TOOLS)/promtool $(TOOLS)/nginx $(TOOLS)/caddy: | $(BIN)/python
	@echo "Getting $(@F); this is done once."
	@mkdir -p $(@D)
	@cd $(@D) && { apt-get -qq download $(PACKAGE) \
		|| { apt-get -qq update && apt-get -qq download $(PACKAGE); }; }
	@cd $(@D) && dpkg-deb --fsys-tarfile $(PACKAGE)_*.deb | tar -x --strip-components=3 ./$(FILE)
	@rm $(@D)/$(PACKAGE)_*.deb
