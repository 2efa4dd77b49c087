# Needs Python >= 3.11 with its headers, a C compiler and make; pip brings everything else.
#
#   make demo    five peers train one model on real data (ARGS="--seed 1" is passed on)
#   make test    the C tests, then pytest
#   make lint    ruff, mypy, clang-format
#   make peer    what a machine of a swarm needs: learnae[train,ipfs] and Kubo, no demo
#   make kubo    Kubo (IPFS), pinned, into the user's cache folder; needs Go or takes PyPI's
#   make bench   every kernel beside the speed of memory (ARGS="--quick" is passed on)
#   make rivals  what the benchmark compares with, in .venv-rivals (several GB)
#   make fuzz    the fuzzers (clang with libFuzzer), FUZZ_SECONDS each
#   make clean   remove all that the targets above made, and objects of cc -c core/src/*.c

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
PYTEST_ARGS ?=
FUZZ_SECONDS ?= 20
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
VENV_BIN = $(abspath $(VENV))/bin

C_SOURCES := $(shell find core binding -type f)
C_TESTS = build/ctest
C_FORMATTED = $(shell find binding core examples tests/core tests/fuzz -name '*.[ch]' 2>/dev/null)

.PHONY: demo peer test test-c test-python lint bench rivals kubo fuzz clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed-demo
	$(VENV)/bin/learnae demo $(ARGS)

test: test-c test-python

test-c: $(VENV)/.installed-test
	@PATH="$(VENV_BIN):$$PATH" && cmake -S . -B $(C_TESTS) -G Ninja -DLEARNAE_WERROR=ON \
		-DLEARNAE_BUILD_TESTS=ON --log-level=WARNING \
		&& cmake --build $(C_TESTS) && ctest --test-dir $(C_TESTS) --output-on-failure

test-python: $(VENV)/.installed-test
	-@sh kubo/build.sh $(VENV_BIN)/python
	LEARNAE_KERNELS=c $(VENV)/bin/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed-lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/clang-format --dry-run -Werror $(C_FORMATTED)

peer: $(VENV)/.installed-train,ipfs
	sh kubo/build.sh $(VENV_BIN)/python

kubo: $(VENV)/.installed-ipfs
	sh kubo/build.sh $(VENV_BIN)/python

bench: $(VENV)/.installed-bench
	$(VENV)/bin/python -m learnae.bench $(ARGS)

# Apart from what learnae needs: torch comes as its CUDA build, and runs on the CPU all the same.
rivals:
	@$(MAKE) --no-print-directory VENV=.venv-rivals .venv-rivals/.installed-rivals
	@echo "Now: .venv-rivals/bin/python -m learnae.bench --rivals"

fuzz:
	sh tests/fuzz/run.sh $(FUZZ_SECONDS)

clean:
	rm -rf $(VENV) .venv-rivals build dist learnae-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f *.o
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip's own check comes too late and says less.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "learnae needs Python >= 3.11, '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -n 1):" \
			"try make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; \
		sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || { \
		echo "Python's headers are missing (Debian: apt install python3-dev)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One stamp for each set of extras; whatever changes the compiled core installs it again.
$(VENV)/.installed-%: pyproject.toml CMakeLists.txt $(C_SOURCES) | $(VENV)/bin/python
	@echo "Installing learnae[$*] into $(VENV)"
	@$(PIP) install --editable '.[$*]'
	@LEARNAE_KERNELS=c $(VENV)/bin/python -c 'import learnae._core' || { \
		echo "The compiled core was not built: see why with" \
			"$(VENV)/bin/python -m pip install --verbose --editable ." >&2; exit 1; }
	@touch $@
