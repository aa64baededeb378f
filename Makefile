# Every target sets up what it needs on a machine with only Python 3.11 and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
VIDEO ?=
SEGMENTS ?= 20
PORT ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo live test test-fast check format manifests lock table dashboard docs clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# Torch first and alone: its version is what decides between a small CPU build and gigabytes of CUDA.
$(VENV)/.installed: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Python 3.11 is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (once, a few minutes) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock "torch==2.13.0"
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable ".[dev]"
	@touch $@

setup: $(VENV)/.installed ## make .venv with exact versions; quiet when it is there already

demo: setup ## start the application and stream a scene (and VIDEO=path); writes demo/out.mp4
	@$(BIN)/python -m load_tests.demo --segments $(SEGMENTS) $(if $(VIDEO),--video "$(VIDEO)")

live: setup ## start the server and a camera to look at in the browser, until Ctrl-C (and VIDEO=path, PORT=8000)
	@$(BIN)/python -m load_tests.live $(if $(VIDEO),--video "$(VIDEO)") $(if $(PORT),--port $(PORT))

test: check ## all tests, lint and types
	@$(BIN)/pytest -q

test-fast: setup ## the tests that need no whole application and no whole family
	@$(BIN)/pytest -q -m "not slow"

check: setup ## lint, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy configs clients serving rl load_tests k8s docs

format: setup ## format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

manifests: setup ## write what `serve build` says into the manifests under k8s/overlays
	@$(BIN)/python -m k8s.serve_config

table: setup ## the family measured on this machine: FLOPs, mIoU on CamVid (DATA=folder), milliseconds, the ladder (CLIPS=folder)
	@$(BIN)/penance-evaluate family $(if $(DATA),--data "$(DATA)") $(if $(CLIPS),--clips "$(CLIPS)")

dashboard: ## build the page at / anew from dashboard/ (needs Node and npm)
	@cd dashboard && npm ci --no-audit --no-fund && npm run build

docs: setup ## the documentation as a site, into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lock: ## resolve the newest allowed versions anew into requirements.lock
	@rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/pip install --quiet "torch==2.13.0" && .venv-lock/bin/pip install --quiet ".[dev]"
	@{ echo "# Exact versions that the make targets install; made by 'make lock'."; \
	   .venv-lock/bin/pip freeze --exclude penance | sed 's/+cpu$$//'; } > requirements.lock
	@rm -rf .venv-lock

clean: ## remove what was built here
	@rm -rf $(VENV) build demo *.egg-info
