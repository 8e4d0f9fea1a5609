# Variables, all of which may be given on the command line:
#   PYTHON       the interpreter that the environment is made with
#   VENV         the environment's folder
#   TORCH        options with which pip installs torch first, such as --index-url and the address that
#                PyTorch's installation page has for a build; empty: pip's default, on Linux for CUDA
#                (an environment keeps the torch it has: remove it to change from one to the other)
#   CONSTRAINTS  what pip is held to; empty: the newest releases
#   ARGS         options for what is run: make dots ARGS="--seed 1", make test ARGS="-k kl"

PYTHON ?= python3
VENV ?= .venv
TORCH ?=
CONSTRAINTS ?= -c constraints.txt
ARGS =

bin := $(VENV)/bin
installed := $(VENV)/.installed
suites := batching dense block step scaling generation

.DEFAULT_GOAL := help
.PHONY: help dots demo test slow browser lint docs bench scatter wheel clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

# Done again only when what is to be installed changes.
$(installed): pyproject.toml constraints.txt
	test -x $(bin)/pip || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH),$(bin)/python -m pip install $(CONSTRAINTS) $(TORCH) torch)
	$(bin)/python -m pip install $(CONSTRAINTS) -e ".[train,data,plots,hub,dev]"
	touch $@

dots: $(installed) ## train on the coloured dots and draw the images composed
	$(bin)/python examples/train_dots.py $(ARGS)

demo: $(installed) ## play with the shipped models in a browser
	$(bin)/python -m pip install $(CONSTRAINTS) -e ".[demo]"
	$(bin)/python -m compvae_pyg.demo

test: $(installed) ## run the tests and the docstrings' examples
	$(bin)/python -m pytest $(ARGS)

slow: $(installed) ## run the tests that take minutes
	$(bin)/python -m pytest -m slow $(ARGS)

browser: $(installed) ## test demo and site in Chromium or Chrome, which is to be there with its driver
	command -v chromedriver
	$(bin)/python -m pip install $(CONSTRAINTS) -e ".[browser]"
	$(bin)/python -m pytest tests/demo tests/site $(ARGS)

lint: $(installed) ## check style and types
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy

docs: $(installed) ## build the documentation site, into docs/_build/html
	$(bin)/python -m pip install $(CONSTRAINTS) -e ".[docs]"
	$(bin)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: $(suites:%=bench-%) ## run all benchmarks and write their tables (minutes); bench-batching, ... one

bench-%: $(installed)
	mkdir -p outputs/benchmarks
	$(bin)/python -m pytest benchmarks/test_$*.py --benchmark-json=outputs/benchmarks/$*.json $(ARGS)
	$(bin)/python benchmarks/report.py outputs/benchmarks/$*.json

scatter: $(installed) ## compile torch-scatter into the environment (takes minutes)
	$(bin)/python -m pip install setuptools wheel hatchling editables
	$(bin)/python -m pip install --no-build-isolation $(CONSTRAINTS) -e ".[scatter]"

wheel: $(installed) ## build the source distribution and the wheel, into dist/
	$(bin)/python -m build

clean: ## remove builds and caches; the environment and outputs/ stay
	rm -rf build dist docs/_build docs/generated .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find compvae_pyg tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
