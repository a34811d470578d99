# make demo      from an embedded corpus to new proteins, in minutes on two cores
# make test      format, types, import rules and all tests
# make install   what both need, in .venv
#
# PYTHON=python3.12 chooses the interpreter, TORCH='torch==2.13.0+cpu' another build of torch. The demo takes RUN=folder,
# PROTEINS=number and OVERRIDES='train.max_steps=100 ...'.

SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell $(name) -c 'print("$(name)")' 2>/dev/null)))
TORCH ?= torch==2.13.0
BIN := .venv/bin
RUN := runs/demo
DATA := $(RUN)/data
PROTEINS := 3000
OVERRIDES :=

.PHONY: install demo test lint

install: .venv/installed

.venv/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or 3.12 is needed; name it with make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: .venv/installed
	rm -rf $(RUN)
	$(BIN)/python -m data_tools.simulate --output $(DATA)/corpus.fasta --proteins $(PROTEINS) --mean-identity 0.9
	$(BIN)/python -m data_tools.fasta_to_lmdb --input $(DATA)/corpus.fasta --output $(DATA)/train.lmdb \
	    --holdout 0.1 --holdout-output $(DATA)/validation.lmdb
	$(BIN)/python -m data_tools.lmdb_to_indexed --input $(DATA)/train.lmdb --output $(DATA)/train
	$(BIN)/python -m data_tools.lmdb_to_indexed --input $(DATA)/validation.lmdb --output $(DATA)/validation
	$(BIN)/python recipes/demo.py data.train=$(DATA)/train data.validation=$(DATA)/validation \
	    output=$(patsubst %/,%,$(dir $(RUN))) name=$(notdir $(RUN)) $(OVERRIDES)
	$(BIN)/python -m d2plm_megatron.evaluation $(RUN) --data $(DATA)/validation
	$(BIN)/python -m d2plm_megatron.generation $(RUN) --length 100:160
	$(BIN)/python -m d2plm_megatron.report $(RUN) --reference $(DATA)/corpus.fasta

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest
