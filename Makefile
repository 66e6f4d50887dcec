# Each command does its own set-up; a second run of it costs nothing.
# PYTHON names the Python (3.11 or newer) that .venv is made with.
PYTHON ?= python3
BIN := .venv/bin
TEST_PROCESSES ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + $$(getconf _NPROCESSORS_ONLN) / 2)
COMPILE = $(BIN)/uv pip compile -q --universal --python-version 3.11 --annotation-style line \
	--custom-compile-command "make requirements" $(UPGRADE) pyproject.toml

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test coverage lint format bench requirements clean

help:
	@echo "make demo          a small shop under gunicorn with traffic on it, and its numbers"
	@echo "make test          all tests"
	@echo "make coverage      all tests, with the coverage of all processes"
	@echo "make lint          ruff, mypy, the layers of the imports, no address in requirements"
	@echo "make format        let ruff write the layout of the code"
	@echo "make bench         the costs, side by side with others"
	@echo "make requirements  write the pinned requirements anew"
	@echo "make clean         remove .venv and everything that is made"

demo:
	@$(PYTHON) tools/setup.py demo
	@$(BIN)/otelmon demo

# Two runs, because tests marked serial want the machine for themselves.
# The first has more processes than most machines have spare cores: its tests mostly wait for servers.
# The second runs although the first failed, so that one look shows all that is to be mended.
# Compiled before, because every server of a test loads it: that halves what its start costs.
test:
	@$(PYTHON) tools/setup.py test
	@$(BIN)/python -m compileall -q otelmon tests
	@failed=0; set -x; \
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) -m "not serial" || failed=1; \
	$(BIN)/python -m pytest -m serial || failed=1; \
	{ set +x; } 2>/dev/null; exit $$failed

# Apart from them, because to be watched costs the tests twice the time.
coverage:
	@$(PYTHON) tools/setup.py test
	@$(BIN)/python -m compileall -q otelmon tests
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(TEST_PROCESSES) -m "not serial"
	$(BIN)/coverage run -m pytest -m serial
	@$(BIN)/coverage combine -q
	$(BIN)/coverage report

# Without its cache: import-linter keeps what a file imports although a new module changes its meaning.
lint:
	@$(PYTHON) tools/setup.py lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	@! grep -n '://' requirements/*

format:
	@$(PYTHON) tools/setup.py lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench:
	@$(PYTHON) tools/setup.py test
	$(BIN)/python -m bench

# Keeps the pins that stand, and adds what is new; UPGRADE=--upgrade renews all.
requirements:
	@$(PYTHON) tools/setup.py lint
	$(COMPILE) --extra all requirements/dev.in -o requirements/dev.txt
	$(COMPILE) --extra demo requirements/build.in -c requirements/dev.txt -o requirements/demo.txt

clean:
	rm -rf .venv .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache .grimp_cache build dist htmlcov *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
