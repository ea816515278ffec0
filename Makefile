# The two commands: `make run` trains a GPT on names, `make test` proves that it is correct.
# Each needs python3 (3.11 or newer), pip and make; it makes .venv when missing and does nothing twice.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal $(if $(CI),-W error)

.PHONY: run page site test test-all test-browser long lint format docs build clean help

run: .venv/ready-to-run  ## train on the built-in names and print samples
	$(BIN)/microgpt

page: .venv/ready-to-run  ## try.html: a page that teaches itself names in any browser, offline
	@$(BIN)/python -c 'import ziglang' || $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cc]'
	$(BIN)/microgpt export --try try.html --force

site: .venv/ready-to-run  ## the documents as a site in build/site, offline
	@$(BIN)/python -c 'import ziglang, latex2mathml' || $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[site]'
	@mkdir -p build
	$(BIN)/microgpt export --try build/try.html --force
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

test: .venv/ready-to-test  ## the everyday suite: two to three minutes on two cores
	$(PYTEST) -m "not long"

long: .venv/ready-to-test  ## what the everyday suite leaves out
	$(PYTEST) -m long

test-all: test long  ## both

test-browser: .venv/ready-to-browse  ## the studio and the exported page in a real Chromium, which must be installed
	$(PYTEST) -m browser

lint: .venv/ready-to-test  ## style, types, and how many lines there are
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@for system in linux darwin win32; do $(BIN)/mypy --platform $$system || exit 1; done
	$(BIN)/oxlint src tests docs
	@for room in src tests trials bench; do \
	  echo "$$room: $$(find $$room \( -name '*.py' -o -name '*.js' -o -name '*.c' \) -exec cat {} + | wc -l) lines"; done

format: .venv/ready-to-test  ## set the code as the house does
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/ready-to-run  ## write docs/CLI.md, the library's keywords, and the notebook of docs/TUTORIAL.md anew
	$(BIN)/python -m microgpt.cli.reference > docs/CLI.new && mv docs/CLI.new docs/CLI.md
	$(BIN)/python -m microgpt.cli.reference --keywords > docs/options.new && mv docs/options.new src/microgpt/library/options.py
	$(BIN)/python docs/notebook.py

build: .venv/ready-to-test  ## a wheel and an sdist in dist/, checked
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

clean:  ## remove what the other targets made
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/:/' | column -t -s ':'

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "MicroGPT needs Python 3.11 or newer, found $$($(PYTHON) --version). Name another: make PYTHON=python3.12"; \
	  echo "(src/microgpt/symmetry.py alone runs on 3.9: $(PYTHON) src/microgpt/symmetry.py)"; exit 1; }
	$(PYTHON) -m venv .venv || { $(PYTHON) -m pip install virtualenv && $(PYTHON) -m virtualenv .venv; }
	@touch $@

.venv/ready-to-run: .venv/made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/ready-to-test: .venv/made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ .venv/ready-to-run

.venv/ready-to-browse: .venv/ready-to-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,browser]'
	@touch $@ .venv/ready-to-test .venv/ready-to-run
