# Everything a checkout can do. Each target does the set-up it needs, once; `make` alone lists them.

# The first Python that runs and is new enough. A pyenv shim can be there and still not run, so each is tried.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	if $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done)
ARGS ?=
TESTS ?= tests
UPGRADE ?=

PY := .venv/bin/python
PYTEST = $(PY) -m pytest
AGAIN = $(PYTEST) --last-failed --last-failed-no-failures none -q $(TESTS)
STATIC := sololith/static/LICENSES.txt
ONEFILE := build/sololith.py
CHAPTERS = $(wildcard sololith/*.py sololith/apps/*.py)
LOCK = .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header $(UPGRADE)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-package test-onefile soak bench eval shots onefile budget lint lock wheel system clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1 \t\2/p' $(MAKEFILE_LIST) | expand -t 18

run: .venv/run.stamp $(STATIC)  ## set up, then start Sololith (ARGS="WORKSPACE --port 5001")
	@$(PY) -m sololith --get-model $(ARGS)

test: test-package test-onefile  ## set up, then the whole suite: on the package, then on the one file

# What fails is run once more, alone: on two cores a browser beside a load test may be late. What fails twice fails,
# and so does a run that did not come to its tests.
test-package: .venv/dev.stamp .venv/system.stamp $(STATIC)
	$(PYTEST) -n 4 --dist loadfile --no-loadscope-reorder --cache-clear -q $(TESTS) || $(AGAIN)

test-onefile: .venv/dev.stamp .venv/system.stamp $(ONEFILE)
	SOLOLITH_ONEFILE=$(ONEFILE) $(PYTEST) -n 4 --dist loadfile --no-loadscope-reorder --cache-clear -q $(TESTS) || SOLOLITH_ONEFILE=$(ONEFILE) $(AGAIN)

soak: .venv/dev.stamp .venv/system.stamp $(ONEFILE)  ## the tests that take long, at their full counts
	$(PYTEST) -m soak --timeout 7200 -q $(TESTS)
	SOLOLITH_ALL=1 SOLOLITH_ONEFILE=$(ONEFILE) $(PYTEST) -n 2 --dist loadfile --timeout 600 -q $(TESTS)

bench: .venv/dev.stamp $(STATIC)  ## what it costs, beside a bare baseline
	$(PY) bench/run.py
	$(PY) bench/chat.py

eval: .venv/dev.stamp $(STATIC)  ## what a real model (Qwen2.5-Coder-1.5B, 1.1 GB) makes of it, into eval/results/
	$(PY) eval/chat.py
	$(PY) eval/acts.py
	$(PY) eval/builds.py

shots: .venv/dev.stamp .venv/system.stamp $(STATIC)  ## screenshots of every page, into shots/
	$(PY) scripts/shots.py

onefile: $(ONEFILE)  ## the whole framework as one file, in build/
	@echo $(ONEFILE)

budget: .venv/dev.stamp  ## tokens per chapter; fails above the cap
	@$(PY) scripts/onefile.py budget

lint: .venv/dev.stamp  ## ruff, the type checker, the one file's rules, the shell scripts
	.venv/bin/ruff check --quiet
	.venv/bin/ty check --quiet
	$(PY) scripts/onefile.py check
	.venv/bin/shellcheck .ci/run scripts/*.sh

lock: .venv/dev.stamp  ## write the requirements anew from pyproject.toml (UPGRADE=--upgrade for newer versions)
	$(LOCK) pyproject.toml --extra embedded -o requirements.txt
	$(LOCK) pyproject.toml --extra embedded --group dev -c requirements.txt -o requirements-dev.txt

wheel: .venv/dev.stamp $(STATIC)  ## build the wheel, front-end files inside, into dist/
	$(PY) -m build --wheel --no-isolation

system: .venv/system.stamp  ## Debian's packages that the tests use

clean:  ## remove all that make has made
	rm -rf .venv build dist shots sololith/static .pytest_cache .ruff_cache
	find sololith scripts tests -name __pycache__ -prune -exec rm -rf {} +

# ── set-up, each step behind a stamp

$(PY):
	@test -n "$(PYTHON)" || { echo "Sololith needs Python 3.11 or newer, and none was found. Install it, or say make PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; echo "The virtual environment failed. On Debian: apt-get install python3-venv" >&2; exit 1; }

.venv/run.stamp: requirements.txt | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.venv/dev.stamp: requirements-dev.txt | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@ .venv/run.stamp

.venv/system.stamp: scripts/system.sh | $(PY)
	scripts/system.sh
	@touch $@

$(STATIC): sololith/assets.py scripts/assets.py | $(PY)
	$(PY) scripts/assets.py

# The one file finds front-end files beside it, as a copy of it would beside an unpacked wheel's.
$(ONEFILE): $(CHAPTERS) scripts/onefile.py pyproject.toml $(STATIC) | $(PY)
	@mkdir -p build
	$(PY) scripts/onefile.py join > $@
	@rm -rf build/static && cp -R sololith/static build/static
