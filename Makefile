# make setup | run | test | lint | bench | experiments | help
PRESET ?= demo
CORES ?= all
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup run test lint bench experiments clean

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /	/' | expand -t 16

$(VENV)/.installed: envs/requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; give make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement envs/requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

setup: $(VENV)/.installed  ## create the environment in .venv from the lock file

run: setup  ## make everything of PRESET (default demo): data, models, report; continues after a kill
	$(BIN)/python -m scripts.run_workflow --cores $(CORES) --config preset=$(PRESET)

test: setup  ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: setup  ## formatting, lint, types, layers, workflow lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakemake --lint

bench: setup  ## run every benchmark and keep its figures under benchmarks/results
	$(BIN)/python -m benchmarks

experiments: setup  ## refresh EXPERIMENTS_VERSION_C.md, the schemas and the key table
	$(BIN)/python -m scripts.gen_experiment_cmds
	$(BIN)/python -m scripts.make_schemas
	$(BIN)/python -m scripts.draw_workflow

clean:  ## remove the environment (results stay)
	rm -rf $(VENV)
