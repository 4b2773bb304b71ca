# Everything from a fresh clone: each command first makes .venv from the locked dependencies.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: run test chaos check bench lock browser

run: $(INSTALLED)
	@exec env DEMO="$${DEMO:-on}" $(BIN)/coursepulse run

test: $(INSTALLED) browser
	$(BIN)/pytest --numprocesses 2 --dist loadfile

# Long: every harm again and again under load, and ten thousand schedules. SEED repeats a run.
chaos: $(INSTALLED)
	$(BIN)/pytest tests/schedules tests/chaos -s --schedules 10000 --rate 100 \
	  --rounds "$${ROUNDS:-3}" --first-seed "$${SEED:-1}" --timeout 900

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/python -m bench

$(INSTALLED): requirements/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is not there: install it, or make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, and this is $$($(PYTHON) --version): make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "installing the locked dependencies in .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# The browser tests drive a Chromium: the system's where there is one.
browser: $(INSTALLED)
	@test -x /usr/bin/chromium || $(MAKE) --no-print-directory install-browser

.PHONY: install-browser
install-browser:
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; \
	elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then \
	  sudo apt-get update -qq && sudo apt-get install -qq -y --no-install-recommends chromium; \
	else false; fi || $(BIN)/playwright install chromium

# --no-emit-index-url and --no-header: the files hold what is installed, not where it came from.
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --prerelease=if-necessary-or-explicit --quiet

lock: $(INSTALLED)
	$(LOCK) --extra embedded --extra dev -o requirements/dev.txt
	$(LOCK) -c requirements/dev.txt -o requirements/production.txt
	$(LOCK:pyproject.toml=bench/fanout/peers.in) -o bench/fanout/peers.txt
