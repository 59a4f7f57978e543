# mt-tools: `make demo` and `make test` set up what they need and work on a fresh machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find src man -name '*.py' -o -name '*.1' -o -name py.typed) pyproject.toml README.md

.PHONY: demo test test-long fuzz lint format man bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/.package
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh demo

test: lint
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-long: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 -m slow

# MUTATIONS=N and SEED=N choose how many damaged files, and which.
fuzz: $(VENV)/.test
	$(BIN)/python -m pytest -s -m slow tests/sound/test_fuzz.py

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python man/build.py --check

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

man: $(VENV)/.package
	$(BIN)/python man/build.py

bench: $(VENV)/.test
	for script in bench/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Dependencies, then the package itself as a wheel (tests run on what users install), then tools.
$(VENV)/.dependencies: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet .
	@touch $@

$(VENV)/.package: $(VENV)/.dependencies $(SOURCES)
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall .
	@touch $@

$(VENV)/.test: $(VENV)/.package
	$(BIN)/python -m pip install --quiet --group test --group lint
	@touch $@
