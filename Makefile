# Python 3.11 or newer and make; everything else comes as packages, into .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.DEFAULT_GOAL := help
.PHONY: help up test check unit integration acceptance chaos bench lock

help:
	@echo "make up           run everything on this machine (options: make up ARGS='--port 8100 --workers 4')"
	@echo "make test         run all tests"
	@echo "make check        lint and types"
	@echo "make unit | integration | acceptance    one level of the tests"
	@echo "make chaos        kill and stop everything at random while it is used (make chaos SECONDS=600 SEED=7)"
	@echo "make bench        measure it all, more than an hour (make bench ARGS=--quick: try it out)"
	@echo "make lock         pin what pyproject.toml asks for, with hashes"

up: $(INSTALLED)
	@exec $(BIN)/hokusai-auth up $(ARGS)

# Much of the time is waiting for servers: three at once, each with servers of its own, the slow files first.
test: $(INSTALLED)
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

unit: $(INSTALLED)
	$(BIN)/pytest tests/unit $(ARGS)

integration: $(INSTALLED)
	$(BIN)/pytest tests/contract tests/integration $(ARGS)

acceptance: $(INSTALLED)
	$(BIN)/pytest tests/acceptance $(ARGS)

# What is done follows from the seed; when, from the machine.
SECONDS := 300
SEED := 1
chaos: $(INSTALLED)
	CHAOS_SECONDS=$(SECONDS) CHAOS_SEED=$(SEED) $(BIN)/pytest tests/acceptance/test_chaos.py $(ARGS)

# Leave the machine alone meanwhile; one bench alone: .venv/bin/python -m bench.validate
bench: $(INSTALLED)
	$(BIN)/python -m bench $(ARGS)

# requirements.lock: everything. requirements-services.lock: what a container of a service needs;
# requirements-build.lock: what makes its wheel.
COMPILE := PIP_FIND_LINKS= $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	--no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

lock: $(INSTALLED)
	$(COMPILE) --all-extras --output-file requirements.lock pyproject.toml
	$(COMPILE) --output-file requirements-services.lock pyproject.toml
	$(COMPILE) --build-deps-for wheel --only-build-deps --output-file requirements-build.lock pyproject.toml

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@echo "installing into .venv ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
