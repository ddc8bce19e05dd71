# Everything begins here: `make serve` runs the bot, `make test` the tests; both set up what they need in .venv.
# ARGS goes to the command: make serve ARGS="--config config/replay.toml --seed 7"

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
CLIENTS := .venv-clients
PEERS := .venv-peers
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(PY) -m piptools compile --quiet --generate-hashes --strip-extras \
	--allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
ARGS ?=

.PHONY: help serve test check format bench chaos chaos-slice drill lock clean systemd-test docker-test

help:
	@echo "make serve    set up and run the bot (ARGS=... for tetrio serve)"
	@echo "make test     set up and run the whole test suite (ARGS=... for pytest)"
	@echo "make check    ruff, mypy"
	@echo "make format   let ruff format the code"
	@echo "make bench    measure"
	@echo "make chaos    the whole bot in virtual time, from a thousand seeds; and sweeps (hours)"
	@echo "make chaos-slice  as much of it as fits into a few minutes"
	@echo "make drill    bugs of other bots, put back one at a time: chaos must find each (hours)"
	@echo "make systemd-test  try the unit under a real systemd, in a machine made from nothing (root)"
	@echo "make docker-test   build the image and try it in containers (root)"
	@echo "make lock     resolve the dependencies anew"
	@echo "make clean    remove what make made"

serve: $(VENV)/.stamp-run
	@$(PY) -m tetrio serve $(ARGS)

# The whole suite on all cores, a module's tests together; what ARGS picks, in one process, so that -s shows what is printed.
test: $(VENV)/.stamp-dev $(CLIENTS)/.stamp
	@$(PY) -m pytest -ra $(or $(ARGS),--numprocesses auto --dist loadscope)

check: $(VENV)/.stamp-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(VENV)/.stamp-dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# Ours beside other people's; the small ones (tests.bench.exchange, recorded, rest_orders, fold) run by themselves.
bench: $(VENV)/.stamp-dev $(PEERS)/.stamp
	@$(PY) -m tests.bench $(ARGS)

# What `tetrio chaos` finds is printed with the seed that shows it again; each line ends the target when it finds something.
JOBS ?= $(shell nproc)
chaos: $(VENV)/.stamp-dev
	$(PY) -m tetrio chaos --seeds 0:1000 --hours 1/6 --jobs $(JOBS)
	$(PY) -m tetrio chaos --seeds 0:5 --hours 24 --jobs $(JOBS)
	$(PY) -m tests.chaos.repeat --seeds 0:100 --jobs $(JOBS)
	$(PY) -m tetrio chaos --sweep kills --points 1000 --jobs $(JOBS)
	$(PY) -m tetrio chaos --sweep bytes --points 100000 --jobs $(JOBS)
	$(MAKE) --no-print-directory drill
	$(PY) -m tests.scenarios.survival kills --count 200
	$(PY) -m tests.scenarios.survival network --minutes 10
	$(PY) -m tests.scenarios.survival stops --count 100
	$(PY) -m tests.chaos.soak --hours 192

drill: $(VENV)/.stamp-dev
	$(PY) -m tests.drill $(ARGS)

chaos-slice: $(VENV)/.stamp-run
	$(PY) -m tetrio chaos --seeds 0:150 --hours 1/6 --jobs $(JOBS)
	$(PY) -m tetrio chaos --sweep kills --points 300 --jobs $(JOBS)
	$(PY) -m tetrio chaos --sweep bytes --points 400 --jobs $(JOBS)

systemd-test:
	@ops/systemd-test $(ARGS)

docker-test: $(VENV)/.stamp-run
	@PYTHON=$(PY) ops/docker-test $(ARGS)

lock: $(VENV)/.stamp-dev
	$(COMPILE) --all-build-deps --output-file requirements.lock pyproject.toml
	$(COMPILE) --all-build-deps --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(COMPILE) --output-file requirements-clients.lock requirements-clients.in
	$(COMPILE) --output-file requirements-peers.lock requirements-peers.in

clean:
	rm -rf $(VENV) $(CLIENTS) $(PEERS) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- setting up: each stamp is made last, so that an interrupted set-up is taken up again -------------------------------

$(VENV)/.stamp-venv:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
		echo "tetrio: there is no $(PYTHON): apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "tetrio: $(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "tetrio: $(PYTHON) cannot make virtual environments: apt-get install python3 python3-venv" >&2; exit 1; }
	@echo "tetrio: setting up $(VENV)" >&2
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.stamp-run: requirements.lock pyproject.toml $(VENV)/.stamp-venv
	@$(PIP) install --only-binary=:all: --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.stamp-dev: requirements-dev.lock $(VENV)/.stamp-run
	@echo "tetrio: setting up what the tests need" >&2
	@$(PIP) install --only-binary=:all: --require-hashes -r requirements-dev.lock
	@touch $@

# Other people's clients of Binance, apart from what the bot runs on. Hundreds of modules that nothing imports: none is compiled.
$(CLIENTS)/.stamp: requirements-clients.lock $(VENV)/.stamp-venv
	@echo "tetrio: setting up $(CLIENTS), other people's clients for the tests" >&2
	@$(PYTHON) -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip --disable-pip-version-check --quiet install --no-compile --only-binary=:all: --require-hashes \
		-r requirements-clients.lock
	@touch $@

# Other people's readers of streams, for the benches.
$(PEERS)/.stamp: requirements-peers.lock $(VENV)/.stamp-venv
	@echo "tetrio: setting up $(PEERS), other people's readers for the benches" >&2
	@$(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install --only-binary=:all: --require-hashes \
		-r requirements-peers.lock
	@touch $@
