# Two commands matter: `make demo` and `make test`. Every command makes .venv from requirements.lock first.
#   make quick      tests that need no torch, in parallel: under 90 seconds on two cores
#   make test T=…   a part of the tests: a path, or any arguments of pytest, as in T="tests/unit -k gguf"
PYTHON ?= python3.11
BIN := .venv/bin
QUICK := tests/architecture tests/contracts tests/golden tests/properties tests/unit

.PHONY: demo test quick check clean

demo: .venv/installed
	$(BIN)/gemma-export --target android --force

# Files in the order of tests/conftest.py: pytest-xdist's own leaves those of one long test for the end.
test: .venv/installed
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(T)

quick: .venv/installed
	$(BIN)/python -m pytest -p tests.quick --numprocesses 2 $(QUICK)

# The same as .pre-commit-config.yaml, command by command.
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
