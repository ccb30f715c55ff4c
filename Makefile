# Three commands; each makes its own .venv with pip alone. No GPU, no cluster, and no network once .venv exists.
PYTHON ?= python3
BIN := .venv/bin

# Without compiled files every test worker would compile the product and rewrite every assertion anew.
unexport PYTHONDONTWRITEBYTECODE

# For `make demo-vllm`: a vLLM built for processors, and a small model.
VLLM ?= vllm
MODEL ?= facebook/opt-125m

.PHONY: demo demo-vllm test lint bench clean

demo: .venv/installed
	$(BIN)/perfagent demo

demo-vllm: .venv/installed
	$(BIN)/perfagent demo-vllm --vllm $(VLLM) --model $(MODEL)

test: .venv/installed
	$(BIN)/pytest -n auto --dist worksteal --cov --cov-report=term

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: .venv/installed
	$(BIN)/pytest tests/performance -s --timeout=600

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv
