# `make` lists what there is to do. Everything is installed into .venv and nothing outside it, except the Debian
# packages that the tests (and Python's own venv) need: see tests/install-debian-packages.

PYTHON ?= python3
ARGS   ?=
VENV   := .venv
BIN    := $(VENV)/bin
# what the tests speak to: clients, databases, a browser, a reverse proxy, another PACS
TEST_PACKAGES := dcmtk mariadb-server postgresql chromium nginx-light orthanc orthanc-dicomweb openssl prometheus
# every file that is installed is one of those whose digests stand in the lock files, for every platform
LOCK   := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
          --custom-compile-command 'make lock'
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet

# the tests start hundreds of processes: each finds the code compiled, also where the environment would not keep it
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test test-large faults fuzz fuzz-atheris screenshots bench bench-against bench-scale bench-memory bench-healthimaging lint format docs lock audit-dependencies clean

help: ## show this list
	@echo "fileroom: what there is to do"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "PYTHON=python3.12 chooses the interpreter (3.11 or newer); 'make clean' first if .venv was made with another."

serve: $(VENV)/runtime.stamp ## install what is needed and start the server; more arguments with ARGS="--http-port 8081"
	@exec $(BIN)/fileroom serve $(ARGS)

test: $(VENV)/test.stamp ## install what the tests need (Debian packages too), then check everything
	@tests/install-debian-packages $(TEST_PACKAGES)
	@$(MAKE) --no-print-directory lint
	@# the tests of a module share their servers, so they stay in one process; tests/conftest.py says which begin
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

fuzz: $(VENV)/test.stamp ## feed thousands of damaged inputs to all that reads from the network, and schemathesis' requests
	FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),500) $(BIN)/pytest -n 2 --timeout=0 tests/fuzz tests/dicomweb/test_openapi.py $(ARGS)

fuzz-atheris: $(VENV)/test.stamp ## run one target under atheris: TARGET=json SECONDS=600; see tests/fuzz/
	$(PIP) install -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz.with_atheris $(or $(TARGET),json) $(or $(SECONDS),600) $(ARGS)

test-large: $(VENV)/test.stamp ## bodies of 4 GiB into, objects of 2 GiB in and out of a real server: minutes, 10 GB of disk in TMPDIR
	$(BIN)/pytest -s $(ARGS) tests/large/store_4_gib.py tests/large/retrieve_2_gib.py tests/large/c_store_2_gib.py

faults: $(VENV)/test.stamp ## kill -9 two hundred times, long outages, every step of an upgrade: an hour; see docs/reliability.md
	FAULT_ROUNDS=$(or $(FAULT_ROUNDS),200) $(BIN)/pytest -s --timeout=0 tests/faults $(ARGS)

screenshots: $(VENV)/test.stamp ## take the pictures of docs/images anew; look at them before they are committed
	SCREENSHOTS=$(CURDIR)/docs/images $(BIN)/pytest tests/e2e/browser -k "preview or studies or length"

bench: $(VENV)/test.stamp ## measure fileroom beside its peers, and image sets into the index, half an hour; see benchmarks/README.md
	$(BIN)/python -m benchmarks.bench $(ARGS)
	$(BIN)/python -m benchmarks.healthimaging

bench-against: $(VENV)/test.stamp ## measure C-STORE of this tree beside another revision, in turns: ARGS=REVISION
	$(BIN)/python -m benchmarks.against $(ARGS)

bench-scale: $(VENV)/test.stamp ## measure queries and ingest in indexes of a thousand to a million studies
	$(BIN)/python -m benchmarks.scale $(ARGS)

bench-memory: $(VENV)/test.stamp ## measure what the server's processes occupy: 2 GiB objects, idle associations, 50,000 stores
	$(BIN)/python -m benchmarks.memory $(ARGS)

bench-healthimaging: $(VENV)/test.stamp ## measure image sets a second into the index, beside one commit a statement
	$(BIN)/python -m benchmarks.healthimaging

lint: $(VENV)/test.stamp ## style, format, types and import contracts, without the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/test.stamp ## let ruff format the code and repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/runtime.stamp ## write docs/conformance.md anew from the attribute table and the negotiated contexts
	$(BIN)/python -m fileroom_server.conformance > $(VENV)/conformance.md
	mv $(VENV)/conformance.md docs/conformance.md

lock: $(VENV)/bin/python ## resolve all dependencies anew and write the lock files
	@$(PIP) install 'uv>=0.9'
	$(LOCK) --extra postgresql --extra tracing --output-file requirements.lock pyproject.toml
	$(LOCK) --extra postgresql --extra tracing --extra healthimaging --output-file requirements-image.lock pyproject.toml
	$(LOCK) --extra test --output-file requirements-test.lock pyproject.toml

audit-dependencies: $(VENV)/bin/python ## ask PyPI's advisory database about every version in the lock files; fails where it has no answer
	@$(PIP) install 'pip-audit>=2.9'
	for lock in requirements.lock requirements-image.lock requirements-test.lock; do \
	  $(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r $$lock || exit 1; done

clean: ## remove the environment and the caches; data is left alone
	rm -rf $(VENV) .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian's python3 comes without ensurepip, and a virtual environment without it has no pip.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fileroom needs Python 3.11 or newer; choose one with 'make PYTHON=python3.12 …'" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tests/install-debian-packages python3-venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: pyproject.toml requirements.lock | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps -e .
	@touch $@

$(VENV)/test.stamp: pyproject.toml requirements-test.lock | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements-test.lock
	$(PIP) install --no-deps -e .
	@touch $@ $(VENV)/runtime.stamp
