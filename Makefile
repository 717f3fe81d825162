# Two commands on a fresh machine: `make demo` and `make test`. Everything goes into .venv.

PYTHON ?= python3
# Another package index for torch, e.g. `make demo INDEX=https://download.pytorch.org/whl/cpu`; empty: pip's own configuration.
INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
TORCH_INDEX := $(if $(INDEX),--index-url $(INDEX),)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Sources that change the compiled library.
NATIVE := CMakeLists.txt $(wildcard cmake/*.py) $(wildcard csrc/core/*.h csrc/core/rules/*.h csrc/ops/*)

.PHONY: demo test check build bench test-gpu bench-gpu test-native format clean help

help:
	@echo "make demo   install, make data, train, evaluate, save; says what it did"
	@echo "make test   install what tests need and run them"
	@echo "make check  formatters, linters, types, architecture"
	@echo "make build  rebuild the C++ operators after a change in csrc/"
	@echo "make test-gpu, make bench-gpu   check and measure Triton bodies by the torch and triton of PYTHON; installs nothing"
	@echo "make bench NAME=criteo_deepfm   run a benchmark (without NAME: list them)"

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

test: $(VENV)/.dev test-native
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(wildcard csrc/core/*.h csrc/core/rules/*.h csrc/ops/* csrc/tests/*)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/test_architecture.py

# The torch-free kernels against std:: containers, under AddressSanitizer and UBSan.
test-native: $(VENV)/.dev
	$(BIN)/cmake -S . -B build/native-tests -G Ninja -DSPARROW_TESTS=ON -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja >/dev/null
	$(BIN)/cmake --build build/native-tests
	$(BIN)/ctest --test-dir build/native-tests --output-on-failure

build: $(VENV)/.torch
	$(PIP) --no-build-isolation --no-deps --editable .
	@touch $(VENV)/.library

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(NAME)

# For a machine with a GPU and no network: PYTHON has torch, triton and pytest, and cmake and a compiler are there. Nothing is installed.
test-gpu:
	$(PYTHON) tests/on_gpu.py

bench-gpu:
	$(PYTHON) benchmarks/on_gpu.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(wildcard csrc/core/*.h csrc/core/rules/*.h csrc/ops/* csrc/tests/*)

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Stamps: each step runs again only when what it depends on changed, so a second `make demo` starts at once.
$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "installing torch (pinned by constraints.txt)"
	$(PIP) $(TORCH_INDEX) --constraint constraints.txt torch
	$(PIP) --constraint constraints.txt numpy scikit-build-core cmake ninja
	@touch $@

# Editable: a change in src/ needs no install; one in csrc/ does, which NATIVE sees.
$(VENV)/.library: $(VENV)/.torch pyproject.toml $(NATIVE)
	@echo "compiling the operators"
	$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.demo: $(VENV)/.library
	$(PIP) --no-build-isolation --constraint constraints.txt --editable ".[demo]"
	@touch $@

$(VENV)/.dev: $(VENV)/.library
	$(PIP) --no-build-isolation --constraint constraints.txt --editable ".[dev]"
	@touch $@
