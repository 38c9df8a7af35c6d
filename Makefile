# `make` alone says what there is. The first target that needs it sets up .venv (scripts/setup.sh; PYTHON=... chooses the interpreter).
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup bench report docs test test-unit test-process test-triton test-vllm test-gpu contracts check release-check clean

SCENARIO ?= scenarios/quickstart.yaml
SETTINGS ?= 1
# Bytecode is kept: 290 files with rewritten assertions, and the package anew in each process that a test starts, are most of a minute of CPU.
PYTEST := env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadgroup --no-loadscope-reorder
RUN ?= $(lastword $(sort $(wildcard runs/*/)))

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do printf 'make %-13s %s\n' "$$target" "$$text"; done

setup: ## .venv with the pinned packages; at once when it is up to date
	@scripts/setup.sh

bench: setup ## build, serve and measure SCENARIO (the quick start), then write its report
	.venv/bin/trtbench serve-and-bench $(SCENARIO)

report: setup ## write the report of RUN (the newest in runs/) again
	@test -n "$(RUN)" || { echo "runs/ has no run: \`make bench\` makes one, or give RUN=DIRECTORY" >&2; exit 2; }
	.venv/bin/trtbench report $(RUN)

docs: setup ## write the reference pages of docs/ from the code: command line, scenario keys, metrics
	.venv/bin/python scripts/reference_docs.py

test: setup ## every test that needs no GPU: on this machine's Triton, in Chromium, and on vLLM where .venv-vllm is there
	$(PYTEST) -m "not gpu"

test-unit: setup ## of those the tests that start no process, open no socket and no run directory (under a minute on 2 quiet cores)
	$(PYTEST) -m unit

test-process: setup ## those that start processes and servers but not Triton, and those of whole run directories
	$(PYTEST) -m process

test-triton: setup ## those on the real Triton with the real engine
	$(PYTEST) -m triton

test-vllm: setup ## those on the real vLLM's CPU build, in .venv-vllm (the first time fetches it: 0.7 GB)
	scripts/setup_vllm.sh
	$(PYTEST) -m vllm

test-gpu: ## the tests that need an NVIDIA GPU; in NVIDIA's container beside its own packages. SETTINGS=0: those that write no GPU setting
	SETTINGS="$(SETTINGS)" scripts/test_gpu.sh

contracts: ## in a container with TensorRT-LLM: record its API anew, print what differs from tests/contracts
	python3 scripts/record_contract.py

check: setup ## ruff and mypy; spelling and words; generated pages; shellcheck and hadolint
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/codespell
	.venv/bin/python scripts/check_prose.py
	.venv/bin/python scripts/reference_docs.py --check
	.venv/bin/shellcheck --severity=warning scripts/*.sh scripts/slurm.sbatch .ci/run
	.venv/bin/hadolint Dockerfile

release-check: setup ## the wheel of the last commit, tried in an empty environment: version, scenarios, report of the example, Python
	@scripts/release_check.sh

clean: ## remove .venv, built engines and caches of this checkout; runs and fetched wheels stay
	rm -rf .venv build dist engines/built .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
