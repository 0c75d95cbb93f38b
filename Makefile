# Two commands set everything up: `make demo` and `make test`. They need Python >= 3.11 with venv, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test quick lint format clean

demo: $(VENV)/installed  ## train, map and polygonise the sample scenes; ends with the paths and a picture
	$(BIN)/python sample_data/demo.py --out demo

test: $(VENV)/installed  ## the whole test suite; what needs a GPU is left to `pytest -m gpu`
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not gpu"

quick: $(VENV)/installed  ## the test suite without the tests that take minutes
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(VENV)/installed  ## formatting, lint and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "geosemi needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	@# --no-compile: pip would compile every file of torch and its like, 47 s on one core, and most are never imported
	$(BIN)/python -m pip install --no-compile --constraint constraints.txt --editable ".[test]"
	@# the first call compiles what the command imports: the next take 0.2 s instead of 0.8 s
	PYTHONDONTWRITEBYTECODE= $(BIN)/geosemi --help > /dev/null
	touch $@

clean:
	rm -rf $(VENV) demo runs build *.egg-info .pytest_cache .mypy_cache .ruff_cache
