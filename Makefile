# Two commands on a fresh machine with Python 3.11 or newer:
#   make demo INPUT=DIR   translate a folder of night frames to day, into out/
#   make test             run the test suite
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INPUT ?=
OUTPUT ?= out
MODEL ?= augan-night2day

.PHONY: demo test test-slow check app clean

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/ready
	@test -n "$(INPUT)" || { echo "make demo INPUT=DIR: name a folder of night frames or clips."; exit 2; }
	$(BIN)/gen translate "$(INPUT)" "$(OUTPUT)" --model "$(MODEL)" --uncertainty map --compare

test: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: $(VENV)/ready
	$(BIN)/python -m pytest -m slow

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

app: $(VENV)/ready
	@test -f app.py || { echo "make app: the web page is not part of this version yet; use gen translate."; exit 2; }
	$(BIN)/python app.py

clean:
	rm -rf $(VENV) build *.egg-info
