# The verbs of textrl-env; `make` alone lists them. They install into .venv (test-interop: .venv-interop, bench-env:
# .venv-bench and .venv-bench-current) and touch nothing else on the machine.
#
# Needs GNU make, python3 3.11 or newer with its venv module, and the first time a connection to a Python package index.
# The set-up runs again only after pyproject.toml or constraints.txt changed. An interrupted one is made anew.
#
# Size: constraints.txt pins torch==2.13.0. Where pip is configured with a source of CPU builds (PIP_EXTRA_INDEX_URL or
# PIP_FIND_LINKS, see PyTorch's install page) it takes 2.13.0+cpu: .venv has 1.3 GB. Otherwise Linux gets the
# ordinary build and with it several GB of CUDA packages. Unpinned, torch would come with CUDA in either case.

PYTHON ?= python3
SEED ?= 0

# test-interop runs make again with another one.
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.textrl-core
DEV := $(VENV)/.textrl-dev
INTEROP := $(VENV)/.textrl-interop
BENCH_ENV := $(VENV)/.textrl-bench
BENCH_ENV_CURRENT := $(VENV)/.textrl-bench-current
# There while packages are being installed; whoever finds it afterwards finds a .venv that cannot be trusted.
BUSY := $(VENV)/.textrl-busy
# The folder that .venv was made in: its scripts hold absolute paths, so a copy or a moved checkout needs its own.
HOME_FILE := $(VENV)/.textrl-home

SHELL := /bin/sh
.SHELLFLAGS := -euc
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help quickstart test test-fast crash test-interop check bench bench-env clean FORCE

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# A shell condition: .venv is whole. Costs one start of Python.
SOUND = { [ ! -e $(BUSY) ] && { [ ! -e $(HOME_FILE) ] || [ "$$(cat $(HOME_FILE))" = "$$(pwd -P)" ]; } && \
	$(BIN)/python -m pip --version >/dev/null 2>&1; }

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	echo "Options: SEED=0 (quickstart), BENCH='scaling quality' (bench), PYTHON=python3 (which Python makes .venv)"

quickstart: $(CORE) ## install, then train the first RLHF run; SEED=0
	@$(BIN)/textrl quickstart --out runs/quickstart --seed $(SEED)

# A process per core with a thread each; a file's tests stay together, since they share what they trained.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadfile

test: $(DEV) ## the whole test suite, what trains and what builds included
	@$(PYTEST)

test-fast: $(DEV) ## the tests that take seconds
	@$(PYTEST) -m "not slow"

crash: $(DEV) ## kill -9, a full disk and SIGTERM at every call that changes a file (make test: a sample)
	@CRASH_SAMPLE=0 $(PYTEST) -rP tests/crashes

test-interop: ## the environment under other RL libraries, in .venv-interop
	@$(MAKE) --no-print-directory VENV=.venv-interop .venv-interop/.textrl-interop
	.venv-interop/bin/python -m pytest tests/interop

check: $(DEV) ## ruff, mypy, direction of imports
	@failed=
	for command in "ruff check ." "ruff format --check ." mypy lint-imports; do
		echo "== $$command"
		$(BIN)/$$command || failed="$$failed [$$command]"
	done
	if [ -n "$$failed" ]; then echo "make check: failed:$$failed" >&2; exit 1; fi

# The benchmarks that have promises to keep. One with options: .venv/bin/python benchmarks/scaling.py --axes tokens
BENCH ?= ppo_iteration ragged_lengths scaling quality

bench: $(DEV) ## speed and learning beside other libraries (after bench-env); takes hours
	@for other in .venv-bench .venv-bench-current; do
		if [ ! -x $$other/bin/python ]; then
			echo "make bench: $$other is missing, in which other libraries run; first: make bench-env" >&2
			exit 1
		fi
	done
	for name in $(BENCH); do
		echo "== benchmarks/$$name.py"
		OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$$name.py
	done

bench-env: ## the other libraries of `make bench`, in .venv-bench and .venv-bench-current
	@$(MAKE) --no-print-directory VENV=.venv-bench .venv-bench/.textrl-bench
	$(MAKE) --no-print-directory VENV=.venv-bench-current .venv-bench-current/.textrl-bench-current

clean: ## remove the .venvs, builds and caches; runs/ stays
	@rm -rf .venv .venv-interop .venv-bench .venv-bench-current build dist *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

ifneq ($(shell $(SOUND) && echo sound),sound)
$(CORE) $(DEV) $(INTEROP) $(BENCH_ENV) $(BENCH_ENV_CURRENT): FORCE
endif

$(CORE): pyproject.toml constraints.txt
	$(call install,-e .)
	touch $(CORE)

$(DEV): pyproject.toml constraints.txt
	$(call install,-e '.[dev]')
	touch $(CORE) $(DEV)

# Tianshou wants virtualenv < 21, and that filelock < 4: older than the pins that the other verbs install.
$(INTEROP): UNPINNED := virtualenv|filelock
$(INTEROP): pyproject.toml constraints.txt
	$(call install,-e '.[interop$(,)tianshou]')
	touch $(INTEROP)

# 1.12.0 is the last release of TRL with a PPO trainer; the pin is that of the interop tests.
$(BENCH_ENV): UNPINNED := trl
$(BENCH_ENV): constraints.txt
	$(call install,trl==1.12.0)
	touch $(BENCH_ENV)

$(BENCH_ENV_CURRENT): constraints.txt
	$(call install,trl==1.16.0)
	touch $(BENCH_ENV_CURRENT)

# A comma that `call` does not take for the end of an argument.
, := ,

# $(1): arguments of pip install; UNPINNED: packages, separated by |, whose pins do not hold. `trap`: after Ctrl-C the
# mark must stay, while after a plain failure of pip (no connection) it goes, because pip changes nothing before it has
# downloaded everything.
define install
@trap 'exit 130' INT TERM HUP
if ! $(SOUND); then
	if ! command -v "$(PYTHON)" >/dev/null; then
		echo "make: there is no '$(PYTHON)' here; textrl-env needs Python 3.11 or newer." >&2
		echo "      On Debian or Ubuntu: sudo apt-get install python3 python3-venv" >&2
		echo "      One with another name: make $(MAKECMDGOALS) PYTHON=python3.12" >&2
		exit 1
	fi
	if ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
		echo "make: textrl-env needs Python 3.11 or newer, '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1)." >&2
		echo "      If a newer one is installed: make $(MAKECMDGOALS) PYTHON=python3.12" >&2
		exit 1
	fi
	if ! "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then
		version=$$("$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
		echo "make: '$(PYTHON)' (Python $$version) cannot make a virtual environment: its venv module is not installed." >&2
		echo "      On Debian or Ubuntu: sudo apt-get install python$$version-venv   (or python3-venv)" >&2
		exit 1
	fi
	if [ -e $(VENV) ]; then echo "make: $(VENV) is incomplete or from another folder; making it anew"; fi
	rm -rf $(VENV)
	mkdir $(VENV)
	touch $(BUSY)
	"$(PYTHON)" -m venv $(VENV)
fi
touch $(BUSY)
grep -vE '^($(UNPINNED))==' constraints.txt > $(VENV)/.textrl-pins
echo "make: installing $(1) into $(VENV); the first time this takes a minute or more, most of it for torch"
if ! $(BIN)/python -m pip install $(1) -c $(VENV)/.textrl-pins; then
	rm -f $(BUSY)
	echo "make: pip could not install $(1) and what it needs; its last lines above say why." >&2
	echo "      'No matching distribution' or 'connection': the Python package index (PyPI) is out of reach." >&2
	echo "          Check the connection; set HTTPS_PROXY behind a proxy, PIP_INDEX_URL for a mirror." >&2
	echo "      'No space left on device': with CUDA packages torch takes several GB, see the top of the Makefile." >&2
	echo "      Then run the same command again." >&2
	exit 1
fi
pwd -P > $(HOME_FILE)
rm -f $(BUSY)
endef
