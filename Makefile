# make install   sets everything up in .venv
# make demo      from an embedded corpus to new proteins, in minutes on two cores
# make test      format, types, import rules and all tests
# make lint      the same without the tests
# make docs      the pages of docs as a website, in build/docs (make docs-links: asks other sites, too)
#
# PYTHON=python3.12 chooses the interpreter and TORCH='torch==2.13.0+cu126' the build of torch; either sets .venv up anew.
# The demo takes RUN=folder, PROTEINS=number and OVERRIDES='train.max_steps=100 ...'.

SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell $(name) -c 'print("$(name)")' 2>/dev/null)))
TORCH ?= torch==2.13.0
CPU_INDEX := https://download.pytorch.org/whl/cpu
BIN := .venv/bin
export RUN := runs/demo
DATA = $(RUN)/data
PROTEINS := 3000
OVERRIDES :=

.DEFAULT_GOAL := help
.PHONY: help install demo demo-folder test test-slurm test-distributed test-end-to-end lint docs docs-links

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

install: .venv/installed
	@echo "Installed. Enter the environment with"
	@echo "    source .venv/bin/activate"
	@echo "and try 'make demo', or train on proteins of your own as README.md shows."

ANEW := $(filter command,$(origin PYTHON) $(origin TORCH))
ifdef ANEW
.PHONY: .venv/installed
endif

.venv/installed: pyproject.toml
	@$(or $(PYTHON),false) -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null || { \
	    echo "error: Python 3.11 or 3.12 with venv is needed (found: $$($(or $(PYTHON),false) --version 2>&1 || echo none));" \
	    "install one (apt install python3.12-venv, brew install python@3.12, conda create -n python312 python=3.12)" \
	    "and name it: make install PYTHON=python3.12" >&2; exit 2; }
	@echo "Setting up $(CURDIR)/.venv: 250 MB to download, 1.2 GB on the disk; with the CUDA build of torch several GB."
	@if [ "$(ANEW)" ] || [ ! -e $@ ]; then rm -f $@ && $(PYTHON) -m venv --clear .venv; fi
	@[ "$(origin TORCH) $$(uname -s)" = "file Linux" ] && ! nvidia-smi -L >/dev/null 2>&1 \
	    && timeout 10 $(BIN)/python -c 'import urllib.request as r; r.urlopen("$(CPU_INDEX)/torch/", timeout=5)' 2>/dev/null \
	    && echo "No NVIDIA GPU here: the CPU build of torch. For GPUs elsewhere: make install TORCH='$(TORCH)'" \
	    && $(BIN)/python -m pip install --quiet --index-url $(CPU_INDEX) "$(TORCH)" \
	    || $(BIN)/python -m pip install --quiet "$(TORCH)"
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: demo-folder .venv/installed
	rm -rf "$(RUN)" && mkdir -p $(DATA) && touch "$(RUN)/.demo"
	$(BIN)/python -m data_tools.simulate --output $(DATA)/corpus.fasta --proteins $(PROTEINS) --mean-identity 0.9
	$(BIN)/python -m data_tools.prepare --input $(DATA)/corpus.fasta --output $(DATA) --validation 0.1 --no-homology
	$(BIN)/python recipes/demo.py data.train=$(DATA)/train data.validation=$(DATA)/validation \
	    output="$$(dirname $(RUN))" name="$$(basename $(RUN))" $(OVERRIDES)
	$(BIN)/d2plm evaluate $(RUN) --data $(DATA)/validation
	$(BIN)/d2plm generate $(RUN) --length 100:160
	$(BIN)/d2plm report $(RUN) --reference $(DATA)/corpus.fasta

# The demo begins by deleting what an earlier one left, which it knows by the file .demo, and nothing else.
demo-folder:
	@case "$$RUN" in ''|-*|*[![:alnum:]._/+-]*) \
	    echo "error: RUN=$$RUN: name a folder, in letters, digits and . _ / + -" >&2; exit 2; esac
	@if [ -e "$$RUN" ] && [ ! -f "$$RUN/.demo" ] && [ "$$(ls -A "$$RUN")" ]; then \
	    echo "error: RUN=$$RUN: holds what no demo made; name another folder" >&2; exit 2; fi

SCRIPTS = .ci/run launchers/ngc.sh launchers/slurm.sbatch tests/gpu/bare_box.sh

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile.ngc
	$(BIN)/shellcheck $(SCRIPTS)

# Unit tests use one core each. The others start processes of their own, and wait for them: three at a time.
test: lint
	$(BIN)/python -m pytest tests/unit --numprocesses auto --maxprocesses 8 --dist loadfile --durations 10
	$(MAKE) --jobs 3 --output-sync=target test-slurm test-distributed test-end-to-end

test-slurm:
	$(BIN)/python -m pytest tests/slurm --durations 10

test-distributed:
	$(BIN)/python -m pytest tests/distributed --durations 10

test-end-to-end:
	$(BIN)/python -m pytest --ignore tests/unit --ignore tests/slurm --ignore tests/distributed --durations 20

SPHINX = $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet

docs: .venv/installed-dev
	$(SPHINX) -b html docs build/docs
	@echo "Built: build/docs/index.html"

docs-links: .venv/installed-dev
	$(SPHINX) -b linkcheck docs build/docs-links
