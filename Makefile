# Two commands on a fresh machine with Python 3.11+, pip and make:  make demo   make test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv installs the pinned packages in seconds; it lives in the project's own environment
UV := $(BIN)/uv

.PHONY: help demo test lint docs format requirements clean

help:
	@echo "make demo      generate a small world, train on it with and without weak losses, compare (about 4 minutes)"
	@echo "make test      run all tests"
	@echo "make lint      ruff (format and lint) and mypy"
	@echo "make docs      the documentation, as site/index.html"
	@echo "make format    let ruff mend what it can"

demo: $(VENV)/ready
	$(BIN)/bombo demo

test: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# a warning, such as a link that leads nowhere, is an error
docs: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(VENV)/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# every package with its hash, without the address of any index; run it after changing pyproject.toml
requirements: $(UV)
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--group dev pyproject.toml --output-file requirements.txt

clean:
	rm -rf $(VENV) demo site

$(UV):
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'BoMBo needs Python 3.11 or newer: make PYTHON=python3.11')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.8

$(VENV)/ready: $(UV) requirements.txt pyproject.toml
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --requirements requirements.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@
