PYTHON ?= python3
VENV := .venv
export VIRTUAL_ENV := $(abspath $(VENV))
BIN := $(VENV)/bin
export HOST ?= 127.0.0.1
export PORT ?= 7860
# Where it is set, every start of Python compiles torch and gradio anew, which takes longer than
# all else.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test lint audit browser screenshots clean

run: $(VENV)/app
	@echo Loading libraries
	$(BIN)/python app.py

# Two processes with a thread each: on two cores, threads of one process mostly wait, and a third
# process makes all of it slower. What the browser did not show within a minute, on a busy machine,
# gets one more try.
test: $(VENV)/dev browser lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=30 \
	  --reruns 1 --only-rerun "Locator expected" --only-rerun "Timeout [0-9]+ms"

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

audit: $(VENV)/dev
	$(BIN)/pip-audit -r requirements.txt

screenshots: $(VENV)/dev browser
	SCREENSHOTS=1 $(BIN)/python -m pytest tests/test_accessibility.py tests/test_page.py
	cp screenshots/default.png assets/screenshots/overview.png

# The browser tests drive Debian's Chromium.
browser:
	@command -v chromium >/dev/null || { \
	  SUDO=$$(test $$(id -u) = 0 || echo sudo); \
	  $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq chromium fonts-dejavu-core; }

# uv installs faster than pip.
$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q uv

$(VENV)/app: requirements.txt | $(BIN)/uv
	$(BIN)/uv pip install -q -r requirements.txt
	touch $@

$(VENV)/dev: $(VENV)/app pyproject.toml
	$(BIN)/uv pip install -q -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV)
