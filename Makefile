# Everything runs from `python3` (3.11 or newer) alone: .venv holds the rest, pinned by hash in requirements*.txt.
# Kept to what GNU Make 3.81 understands, because that is what macOS has.

PYTHON ?= python3
PYTEST_ARGS ?=
WORKERS ?= auto
LOCK_ARGS ?=
ARGS ?=
KILLS ?= 10000
SEED ?= 1
ROUNDS ?= 1000
STORE ?= sqlite
SEEDS ?= 10000
EXAMPLES ?= 1000
TOTALS ?= 200
STORED ?= 1000000

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# a virtual environment does not survive being moved: the marks carry the folder's checksum
PLACE := $(shell printf '%s' "$(CURDIR)" | cksum | cut -d' ' -f1)
MADE := .venv/.made-$(PLACE)
RUNS := .venv/.runs-$(PLACE)
TESTS := .venv/.tests-$(PLACE)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test canary lint format cover bench faults bench-gate crash race storm simulate audit-mutations mutations mutants lock wheel clean

help: ## show this list
	@printf '\nSeikyu 請求\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n  PYTHON=python3.13     another interpreter\n'
	@printf '  PYTEST_ARGS="-k seal" passed on to pytest\n'
	@printf '  WORKERS=0             tests one after the other, as a debugger wants them (default: one for each core)\n'
	@printf '  N=10000               random changes that audit-mutations and mutations make\n'
	@printf '  LOCK_ARGS=--upgrade   newest versions instead of the pinned ones\n\n'

demo: $(RUNS) ## walk through the whole story against the sandbox, without any account
	@$(BIN)/seikyu demo

test: $(TESTS) ## run the tests
	@$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

CANARY ?= build/canary
canary: $(TESTS) ## run the tests with every log at DEBUG, and look for every secret they used in all that anybody could read
	@rm -rf $(CANARY)
	@PYTHONPATH=tests $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal --log-level=DEBUG \
		-o tmp_path_retention_policy=all -p canary.plugin --canary=$(CANARY) $(PYTEST_ARGS)
	@rm -rf $(CANARY)

cover: PYTEST_ARGS += --cov --cov-report=term
cover: test ## run the tests and say which lines they did not reach

N ?= 10000
MINUTES ?= 60
mutants: $(TESTS) ## plant faults in the gate, the vault and the models, MINUTES long, and count those no test finds; SAMPLE=400
	@$(BIN)/python bench/mutants.py --minutes $(MINUTES) $(if $(SAMPLE),--sample $(SAMPLE) --seed $(SEED))

audit-mutations: $(TESTS) ## change the store at random, N=10000 times, and see that the audit finds it
	@SEIKYU_AUDIT_MUTATIONS=$(N) $(BIN)/python -m pytest -q -o faulthandler_timeout=0 tests/gate/test_audit_mutations.py

mutations: $(TESTS) ## change at random what was approved, N times from SEED, and see that none of it is sent; ROUND=17 for one
	@SEIKYU_MUTATIONS=$(N) SEIKYU_SEED=$(SEED) $(if $(ROUND),SEIKYU_ROUND=$(ROUND)) $(BIN)/python -m pytest -q -o faulthandler_timeout=0 \
		tests/gate/test_mutations_after_approval.py -k no_change

lint: $(TESTS) ## style, types and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

format: $(TESTS) ## put the code into the house's form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(TESTS) ## measure
	@$(BIN)/python bench/start.py

bench-gate: $(TESTS) ## measure a write's way through the gate, with 1,000 and with STORED older actions
	@PYTHONPATH=tests $(BIN)/python bench/cost.py --stored $(STORED) --store $(STORE)

faults: $(TESTS) ## each fault of the catalogue, the tests that prove it, and how they went; ARGS="--json F01"
	@PYTHONPATH=tests $(BIN)/python -m faults.report $(ARGS)

crash: $(TESTS) ## kill -9 at every durable step, KILLS times from SEED, on STORE=sqlite or postgres
	@PYTHONPATH=tests $(BIN)/python -m crash.kills --kills $(KILLS) --seed $(SEED) --store $(STORE)

race: $(TESTS) ## 64 approvers of one action ROUNDS times, then 32 proposals at a limit TOTALS times
	@PYTHONPATH=tests $(BIN)/python -m crash.race --rounds $(ROUNDS) --totals $(TOTALS) --store $(STORE)

SECONDS ?= 300
CUTS ?= 200
storm: $(TESTS) ## SECONDS of tokens that live two, many processes, kills and stops, then CUTS in the middle of a renewal; STORE=
	@PYTHONPATH=tests $(BIN)/python -m storm.weather --seconds $(SECONDS) --cuts $(CUTS) --seed $(SEED) --store $(STORE)

simulate: $(TESTS) ## SEEDS towns from SEED, in which everything goes wrong in the order a seed chose
	@PYTHONPATH=tests $(BIN)/python -u -m simulation.run --seeds $(SEEDS) --seed $(SEED)
	@SEIKYU_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -q tests/simulation/test_life.py

# the largest first: the other two take its versions, so that the three never disagree
lock: $(TESTS) ## pin every dependency anew, with the hashes of all platforms
	$(call compile,requirements-dev.txt,pyproject.toml --group dev)
	$(call compile,requirements.txt,pyproject.toml --constraint requirements-dev.txt)
	$(call compile,requirements-build.txt,--group build --constraint requirements-dev.txt)

wheel: $(RUNS) ## build the wheel into dist/
	@rm -rf dist
	@$(BIN)/python -m hatchling build -t wheel

clean: ## remove everything that make made, .venv too
	rm -rf .venv build dist htmlcov .coverage .coverage.* \
		.mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find $(wildcard server tools tests bench) -name __pycache__ -type d -prune -exec rm -rf {} +

$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		found=$$($(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null || echo '?'); \
		printf '%s\n' \
			"Seikyu needs Python 3.11 or newer ($(PYTHON): $$found); install one, or name it: make PYTHON=python3.13" \
			"Seikyu には Python 3.11 以降が必要です（$(PYTHON): $$found）。インストールするか、make PYTHON=python3.13 のように指定してください。" >&2; \
		exit 1; }
	$(call step,creating .venv with $$($(PYTHON) --version),$(PYTHON) -m venv --clear .venv)
	@touch $@

$(RUNS): $(MADE) requirements.txt requirements-build.txt pyproject.toml
	$(call install,-r requirements.txt -r requirements-build.txt)
	@touch $@

# the development lock contains the other two, so `make demo` is ready as well
$(TESTS): $(MADE) requirements-dev.txt pyproject.toml
	$(call install,-r requirements-dev.txt)
	@touch $(RUNS) $@

# $(call step,words,command): the words, then the seconds the command took; what it had to say only if it failed
define step
@printf '  %s … ' "$(1)"; began=$$(date +%s); said=$$($(2) 2>&1) && echo "$$(( $$(date +%s) - began )) s" \
	|| { echo "failed"; printf '%s\n' "$$said" | tail -n 40 >&2; exit 1; }
endef

# $(call install,requirement files): what is pinned, by hash, then Seikyu itself from this folder
define install
$(call step,installing $$(cat $(filter %.txt,$(1)) | grep -c ==) pinned packages,$(PIP) install --quiet --progress-bar off --require-hashes $(1))
$(call step,installing Seikyu from this folder,$(PIP) install --quiet --no-deps --no-build-isolation -e .)
endef

# $(call compile,lock,sources): no address and no path may end up in a lock
define compile
$(call step,pinning $(1),$(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate $(LOCK_ARGS) $(2) --output-file $(1))
@! grep -n '://' $(1)
endef
