# `make demo` and `make test` are all the set-up there is; `make help` lists the rest.
# Every virtual environment is a stamp file, so a second run starts at once.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
JOBS ?= $(shell nproc)
PYTEST_ARGS ?=
ARGS ?=

VENV := .venv
PEER_VENV := .venv-conformance
PROGRAMS_VENV := .venv-programs
PY := $(CURDIR)/$(VENV)/bin/python
PEER_PY := $(CURDIR)/$(PEER_VENV)/bin/python
PROGRAMS_PY := $(CURDIR)/$(PROGRAMS_VENV)/bin/python
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

BUILD := build/develop
SANITIZE_BUILD := build/sanitize
PACKAGE_PATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# --- environments -------------------------------------------------------------------------------------

define make_venv
	@$(PYTHON) -c 'import sys; sys.exit("flambeau needs Python 3.10 or newer") if sys.version_info < (3, 10) else 0'
	@test -x $(1)/bin/pip || $(PYTHON) -m venv $(1) || \
		{ echo "could not make a virtual environment: install your system's python3-venv package"; exit 1; }
endef

$(VENV)/.stamp: pyproject.toml tools/requirements.py
	$(call make_venv,$(VENV))
	@echo "== installing the build's and tests' requirements into $(VENV)"
	@$(PY) tools/requirements.py build run test demo > $(VENV)/requirements.txt
	@$(PY) $(PIP_INSTALL) -r $(VENV)/requirements.txt
	@touch $@

# The formatters and type checker, apart: neither `make demo` nor `make test` needs them.
$(VENV)/.stamp-dev: $(VENV)/.stamp
	@echo "== installing the linters into $(VENV)"
	@$(PY) tools/requirements.py dev > $(VENV)/requirements-dev.txt
	@$(PY) $(PIP_INSTALL) -r $(VENV)/requirements-dev.txt
	@touch $@

# PyTorch lives in an environment of its own: no test of the package can lean on it by accident.
$(PEER_VENV)/.stamp: pyproject.toml tools/requirements.py
	$(call make_venv,$(PEER_VENV))
	@echo "== installing PyTorch into $(PEER_VENV)"
	@$(PEER_PY) tools/requirements.py run conformance demo > $(PEER_VENV)/requirements.txt
	@$(PEER_PY) $(PIP_INSTALL) -r $(PEER_VENV)/requirements.txt
	@touch $@

# Other people's packages that use PyTorch, without PyTorch.
$(PROGRAMS_VENV)/.stamp: pyproject.toml tools/requirements.py
	$(call make_venv,$(PROGRAMS_VENV))
	@echo "== installing transformers, timm, diffusers, peft, lightning and what they need into $(PROGRAMS_VENV)"
	@$(PROGRAMS_PY) tools/requirements.py run programs > $(PROGRAMS_VENV)/requirements.txt
	@$(PROGRAMS_PY) tools/requirements.py programs-alone > $(PROGRAMS_VENV)/requirements-alone.txt
	@$(PROGRAMS_PY) $(PIP_INSTALL) -r $(PROGRAMS_VENV)/requirements.txt
	@$(PROGRAMS_PY) $(PIP_INSTALL) --no-deps -r $(PROGRAMS_VENV)/requirements-alone.txt
	@touch $@

# --- the native module, in the source tree --------------------------------------------------------------

define build_native
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cmake -S . -B $(1) -G Ninja -DPython_EXECUTABLE=$(PY) $(2) --log-level=WARNING
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cmake --build $(1) -- -j$(JOBS)
endef

.PHONY: develop
develop: $(VENV)/.stamp ## build the native module in the source tree (again: only what changed)
	$(call build_native,$(BUILD))
	@echo "$(CURDIR)" > $$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/flambeau-develop.pth

# --- use and test -----------------------------------------------------------------------------------------

.PHONY: demo
demo: develop ## train a convolutional network on handwritten digits
	$(PY) -m flambeau examples/digits.py $(ARGS)

.PHONY: test
test: develop ## build and run the tests (one of them: PYTEST_ARGS="tests/test_x.py -k name")
	PYTHONPATH="$(PACKAGE_PATH)" $(PY) -m pytest $(PYTEST_ARGS)

.PHONY: programs
programs: develop $(PROGRAMS_VENV)/.stamp ## run other people's programs (transformers, timm, diffusers, peft, lightning) and compare with what PyTorch gave
	PYTHONPATH="$(PACKAGE_PATH)" $(PROGRAMS_PY) -m pytest tests/programs $(PYTEST_ARGS)

.PHONY: conformance
conformance: develop $(PEER_VENV)/.stamp ## compare with PyTorch: operators, modules, optimizers, names (ARGS="--op add", "--modules")
	PYTHONPATH="$(PACKAGE_PATH)" $(PEER_PY) -m tests.conformance $(ARGS)

.PHONY: bench
bench: develop $(PEER_VENV)/.stamp ## ratio of speed to PyTorch, per workload (ARGS="--only add")
	PYTHONPATH="$(PACKAGE_PATH)" $(PEER_PY) -m benchmarks $(ARGS)

CXX_FILES := $(shell git ls-files -co --exclude-standard 'csrc/*.h' 'csrc/*.cpp' 2>/dev/null)

.PHONY: lint
lint: develop $(VENV)/.stamp-dev ## check formatting, names, imports and the stubs
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(if $(CXX_FILES),$(VENV)/bin/clang-format --dry-run --Werror $(CXX_FILES))
	$(if $(wildcard flambeau/_C.pyi),PYTHONPATH="$(PACKAGE_PATH)" $(PY) tools/stubs.py --check)

.PHONY: format
format: $(VENV)/.stamp-dev ## format all sources in place
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(if $(CXX_FILES),$(VENV)/bin/clang-format -i $(CXX_FILES))

.PHONY: stubs
stubs: develop ## write the native module's type stubs anew
	PYTHONPATH="$(PACKAGE_PATH)" $(PY) tools/stubs.py

# The interpreter itself is not instrumented, so the sanitizers' runtime is loaded before it. Leaks are not looked for:
# the interpreter never frees its own static objects. `pytest`, not `python -m pytest`: the latter would put this folder,
# with the ordinary build, before the instrumented one.
SANITIZE_TESTS ?= tests -m "not slow"
.PHONY: sanitize
sanitize: $(VENV)/.stamp ## run the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call build_native,$(SANITIZE_BUILD),-DFLAMBEAU_SANITIZE=ON)
	@find flambeau -mindepth 1 -maxdepth 1 ! -name '_C*.so' -exec ln -sfnr -t $(SANITIZE_BUILD)/flambeau {} +
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	LD_PRELOAD="$$($${CXX:-g++} -print-file-name=libasan.so) $$($${CXX:-g++} -print-file-name=libstdc++.so)" \
	PYTHONPATH="$(CURDIR)/$(SANITIZE_BUILD)$(if $(PYTHONPATH),:$(PYTHONPATH))" PYTHONDONTWRITEBYTECODE=1 \
	$(VENV)/bin/pytest -p no:cacheprovider $(SANITIZE_TESTS) $(PYTEST_ARGS)

.PHONY: clean
clean: ## remove what was built, keep the environments (`make distclean` removes these too)
	rm -rf build build-* dist demo_output flambeau/_C*.so .pytest_cache .ruff_cache .mypy_cache .hypothesis

.PHONY: distclean
distclean: clean ## back to a fresh clone
	rm -rf $(VENV) $(PEER_VENV) $(PROGRAMS_VENV)
