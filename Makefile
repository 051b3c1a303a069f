# Two commands matter: `make demo` and `make test`. Both make .venv from requirements.lock first.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test check clean

demo: .venv/installed
	$(BIN)/gemma-export --target android --force

test: .venv/installed
	$(BIN)/python -m pytest

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

clean:
	rm -rf .venv build dist
