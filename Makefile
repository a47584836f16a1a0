# Two commands: `make demo` runs the main job, `make test` the tests. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export DAGSTER_HOME := $(CURDIR)/storage

.PHONY: demo test test-quick lint ui search changes bench tiny-clip format clean

## demo: the whole graph on the embedded data set, ending in the evaluation table and the report's path
demo: $(VENV)/.installed
	$(BIN)/cir-assets demo

# Each of a suite's processes would compile every test anew.
test test-quick: export PYTHONDONTWRITEBYTECODE =

## test: lint, types and the whole suite
test: lint
	$(BIN)/pytest

## test-quick: lint, types and what needs no whole graph, process or browser; for every small change
test-quick: lint
	$(BIN)/pytest -m "not slow"

## lint: ruff and mypy alone
lint: $(VENV)/.installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## ui: graph, search, reports and docs from one start page, with the daemon that follows changes
ui: $(VENV)/.installed
	$(BIN)/cir-assets ui

## search: the search page on http://localhost:8765, served by the champions
search: $(VENV)/.installed
	$(BIN)/cir-assets serve

## changes: make every kind of change to a small catalogue and print what each makes again
changes: $(VENV)/.installed-for-tests
	@$(BIN)/python -W ignore -m tests.changes 2>$(VENV)/changes.log || { tail -n 60 $(VENV)/changes.log >&2; exit 1; }

## bench: what each step costs beside its floor, 70 minutes on 2 cores; make bench WITH=--quick for a tenth
bench: $(VENV)/.installed-for-tests
	$(BIN)/python -W ignore -m benchmarks $(WITH)

## tiny-clip: make the embedded backbone's weights again (CPU or GPU)
tiny-clip: $(VENV)/.installed
	$(BIN)/python -m cir_assets.training.tiny_clip --out cir_assets/models/tiny_clip

## format: let ruff put the code in order
format: $(VENV)/.installed-for-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## clean: forget everything that was made; storage/dagster.yaml stays
clean:
	find storage -mindepth 1 -not -name dagster.yaml -delete

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] + "; name another with make PYTHON=…") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-for-tests: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
# Apart from the rest: beside a build of torch for the CPU, the registry's torchvision breaks what imports it.
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --constraint constraints.txt --target $(VENV)/open_clip \
		open_clip_torch torchvision timm ftfy wcwidth
	touch $@
