# One environment, .venv, made from the lock files. `make` alone lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
PIP := $(RUN) -m pip --disable-pip-version-check --no-input
# Python compiles modules when they are first imported; most of these never are.
INSTALL := $(PIP) install -q --no-compile
TORCH := $(shell sed -n 's/^torch==//p' requirements.lock)

ARGS ?=
PYTEST_ARGS ?=
TORCH_ARGS ?=
WORKERS ?= 3
LIPREG_DATA ?= $(wildcard $(abspath ../shared/data))

export LIPREG_DATA

# Every process of the tests imports thousands of modules, which takes twice as long and more where nothing compiled is kept.
unexport PYTHONDONTWRITEBYTECODE

export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help env train test test-all check lint docs lock clean intact

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=python3.12      the interpreter that .venv is made with (3.11 to 3.13)"
	@echo "  ARGS='...'             what make train hands to experiments.train: make train ARGS='seed=1 trainer.max_epochs=3'"
	@echo "  PYTEST_ARGS='...'      more options of pytest: make test PYTEST_ARGS='-k spectral'"
	@echo "  WORKERS=3              test processes, of which some only wait; 0 runs the tests in one process"
	@echo "  LIPREG_DATA=...        the folder of data sets such as mnist; ../shared/data, if there is one"
	@echo "  TORCH_ARGS='...'       more options of the pip command that installs torch, to choose a CPU or CUDA build"

env: intact $(VENV)/.dev ## make .venv with everything for work on lipreg

train: intact $(VENV)/.runtime ## train: make train ARGS='experiment=... seed=0'
	$(RUN) -m experiments.train $(ARGS)

test-all: export LIPREG_TESTS := all
test-all: test ## make test with every combination of which make test takes a sample

# Types are checked on one core beside lint and tests; what they say is printed last. In a new checkout one process collects the
# tests first: it compiles what all of them import, which every test process would do for itself at the same time.
test: env ## make check, and the tests
	@mkdir -p build
	@$(RUN) -m pyright > build/types.txt 2>&1 & types=$$!; \
		{ test -d tests/__pycache__ || $(RUN) -m pytest -qq --collect-only; } > build/collected.txt 2>&1 & collected=$$!; \
		$(MAKE) --no-print-directory lint || { kill $$types $$collected 2>/dev/null; exit 1; }; \
		wait $$collected; \
		OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS); tests=$$?; \
		wait $$types; types=$$?; tail -n 200 build/types.txt; exit $$((tests ? tests : types))

check: lint ## lint, format, layers, types
	$(RUN) -m pyright

lint: env
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(BIN)/lint-imports --no-logo

docs: env ## write the API reference, from the docstrings, to build/reference
	$(RUN) -m tools.reference

lock: intact ## write the lock files from the versions installed in .venv
	$(RUN) tools/lock.py

clean: ## remove caches and build products; .venv and runs stay
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

# ---------------------------------------------------------------- the environment

# A .venv that was copied, moved or half removed fails in ways that are hard to read: say it here.
intact:
	@test ! -e $(VENV) || { \
		$(RUN) -c 'import sys, pip; sys.exit(not (3, 11) <= sys.version_info < (3, 14) or sys.prefix == sys.base_prefix)' >/dev/null 2>&1 \
		&& { test ! -s $(VENV)/.made || test "$$(cat $(VENV)/.made)" = "$(CURDIR)"; }; } || \
		{ echo "make: $(VENV) is broken, made elsewhere, or not made by Python 3.11 to 3.13: remove it (rm -r $(VENV)) and run make again." >&2; exit 1; }

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || \
		{ echo "make: lipreg needs Python 3.11 to 3.13; '$(PYTHON) -V' says: `$(PYTHON) -V 2>&1`. Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -e $(RUN) || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "make: '$(PYTHON) -m venv' failed; on Debian and Ubuntu install the package python3-venv." >&2; exit 1; }
	@echo "$(CURDIR)" > $@

# torch goes in first, by its exact version, so that no resolver ever chooses another; the lock holds all that it needs.
$(VENV)/.runtime: requirements.lock pyproject.toml $(VENV)/.made
	@echo "Installing the packages of requirements.lock (some minutes the first time)"
	@$(INSTALL) $(TORCH_ARGS) -c requirements.lock torch==$(TORCH)
	@$(INSTALL) --no-deps -r requirements.lock
	@$(INSTALL) --no-deps --editable .
	@$(PIP) check
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing the packages of requirements-dev.lock"
	@$(INSTALL) --no-deps -r requirements-dev.lock
	@$(PIP) check
	@touch $@
