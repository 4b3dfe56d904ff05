# The one list of commands; `make` prints it. CI and the README call these and nothing else.

PIP := .venv/bin/python -m pip --disable-pip-version-check
PY := .venv/bin/python
READY := .venv/.ready
PORT ?= 8421
BUDGET ?= 90s
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check format chaos bench

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## put everything the project needs into .venv (done by the others when it is due)

$(READY): pyproject.toml constraints.txt
	@sh scripts/preflight.sh build
	@python=$$(sh scripts/preflight.sh python) || exit 1; \
	$(PY) -m pip --version >/dev/null 2>&1 || { echo "making .venv with $$python"; "$$python" -m venv --clear .venv; }
	@echo "installing PyTorch (a large download the first time)"
	@$(PIP) install --constraint constraints.txt torch
	@echo "installing the project and its tools"
	@$(PIP) install --quiet --quiet --constraint constraints.txt setuptools
	@$(PIP) install --quiet --quiet --constraint constraints.txt --no-build-isolation --editable '.[worker,dev]'
	@touch $@

demo: $(READY) ## find a faster softmax for this machine, with live progress
	@sh scripts/preflight.sh build
	.venv/bin/deep-agent optimize problems/softmax --device auto --budget $(BUDGET)

serve: $(READY) ## start the API and its page on PORT (8421)
	.venv/bin/deep-agent serve --port $(PORT)

test: $(READY) ## run every test that needs no GPU
	@sh scripts/preflight.sh build
	@sh scripts/preflight.sh test
	$(PY) -m pytest -m "not gpu"

check: $(READY) ## lint, format, types, imports, sizes and words
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PY) -m pytest -q tests/architecture

format: $(READY) ## rewrite the code in the house format
	.venv/bin/ruff check --fix-only --quiet .
	.venv/bin/ruff format .

chaos: $(READY) ## kill a real server at random moments in twenty runs, and check what is left (a quarter of an hour)
	$(PY) tests/e2e/chaos.py --runs 20

bench: $(READY) ## measure: equal arms, the search against random search, the executor, throughput (half an hour)
	$(PY) benchmarks/aa.py
	$(PY) benchmarks/search.py
	$(PY) benchmarks/executor.py
	$(PY) benchmarks/throughput.py
