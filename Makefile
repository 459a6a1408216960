# `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
# which torch and which mm packages: requirements/torch-$(TORCH).txt, requirements/mm-$(MM).txt
TORCH ?= pinned
MM ?= openmmlab
BIN := $(VENV)/bin

# An environment is complete when it has the stamp of just these pins. Its folder is part of the
# key: a virtual environment that is moved or copied does not work.
PINS := $(sort $(filter-out requirements/docs.txt,$(wildcard requirements/*.txt))) \
	pyproject.toml setup.py
KEY := $(shell { pwd; echo $(TORCH) $(MM); cat $(PINS); } | cksum | tr -dc 0-9)
STAMP := $(VENV)/.complete-$(KEY)
STARTED := $(VENV)/.started-in

# A file of tests stays with one worker, so that it trains what its tests share only once.
WORKERS := -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help env test lint fast fuzz networks test-oldest test-newest test-onedl test-pythons demo docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP)  ## create .venv with the pinned stack and st_mm, or reuse it

test: lint  ## every check: ruff, mypy, pytest
	$(BIN)/python -m pytest $(WORKERS)

lint: env  ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m mypy

fast: env  ## pytest without the slow tests
	$(BIN)/python -m pytest $(WORKERS) -m "not slow"

fuzz: env  ## 1,000 damaged checkpoints, 1,000 configs, 40 kills
	$(BIN)/python tests/fuzz/run.py --checkpoints 1000 --configs 1000 --kills 40

networks: env  ## 30 stock networks and whole models of theirs with the hooks; a quarter of an hour
	ST_MM_ALL_NETWORKS=1 $(BIN)/python -m pytest -rA tests/end_to_end/test_stock_networks.py \
	  tests/end_to_end/test_stock_models.py

# What a new torch or Python breaks shows in these first; a few minutes each, beside the download.
SUBSET := tests/models tests/units tests/search tests/prune tests/measure tests/optim tests/hooks \
	tests/compat tests/test_compat.py tests/test_contract.py tests/ticket
PYTHONS ?= python3.10 python3.11 python3.12 python3.13

test-oldest:  ## pytest's core with the oldest torch, in .venv-oldest
	$(MAKE) subset VENV=.venv-oldest TORCH=oldest

test-newest:  ## pytest's core with the newest torch, in .venv-newest
	$(MAKE) subset VENV=.venv-newest TORCH=newest

test-onedl:  ## pytest's core with the maintained forks of the mm packages, in .venv-onedl
	$(MAKE) subset VENV=.venv-onedl MM=onedl

test-pythons:  ## pytest's core with each Python of PYTHONS, each in .venv-PYTHON
	@for python in $(PYTHONS); do \
	  $(MAKE) subset PYTHON=$$python VENV=.venv-$$(basename $$python) || exit 1; done

.PHONY: subset
subset: env
	$(BIN)/python -m pytest $(WORKERS) -m "not slow" $(SUBSET)

demo: env  ## draw a ticket on toy streets: train, test, tables, pictures
	$(BIN)/python tools/demo.py

DOCS := .venv-docs/.complete-$(shell cksum < requirements/docs.txt | tr -dc 0-9)

docs: $(DOCS)  ## build the site of the pages in build/site, with mkdocs in .venv-docs
	.venv-docs/bin/python docs/make_site.py

$(DOCS):
	$(PYTHON) -m venv --clear .venv-docs
	.venv-docs/bin/python -m pip install --disable-pip-version-check -r requirements/docs.txt
	@touch $@

clean:  ## remove what the targets made: environments, caches, builds
	rm -rf .venv .venv-* build dist *.egg-info st_mm/.mim .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "make env: '$(PYTHON)' is not a Python from 3.10 to 3.13, for which every pinned package" \
	       "has a wheel. Name one: make env PYTHON=python3.11" >&2; exit 1; }
	@if [ -e $(STARTED) ] && \
	  { ! ls $(VENV)/.complete-* >/dev/null 2>&1 || [ "$$(cat $(STARTED))" != "$(CURDIR)" ]; }; then \
	  echo "make env: $(VENV) was interrupted or comes from another folder; starting over."; \
	  rm -rf $(VENV); fi
	@echo "make env: installing the pinned stack into $(VENV). That takes 1.7 GB and one or two minutes" \
	      "with a CPU torch at hand, 4.5 GB and as long as the download with the CUDA torch."
	@mkdir -p $(VENV) && echo "$(CURDIR)" > $(STARTED) && rm -f $(VENV)/.complete-*
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements/torch-$(TORCH).txt \
	  -r requirements/mm-$(MM).txt -r requirements/stack.txt -r requirements/matrix.txt -r requirements/test.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps -r requirements/mm-$(MM)-no-deps.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
	@echo "make env: done. Activate it with: source $(BIN)/activate"
