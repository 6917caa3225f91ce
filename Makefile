# Each target makes the environment that it needs. PYTHON chooses the interpreter the environment is made from, WORKERS how
# many processes run the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo
BENCH ?= bench
WORKERS ?= 2
PYTEST_ARGS ?=
LABEL_VENV ?= .venv-label
AUDIT_VENV ?= .venv-audit

.PHONY: demo test test-all check audit ui label-env bench niivue clean
.DELETE_ON_ERROR:

$(VENV)/.installed: setup.cfg setup.py constraints.txt install.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh install.sh .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh install.sh '.[dev]'
	@touch $@

demo: $(VENV)/.installed  ## a first answer, then trainings, figures and a comparison, tracked; results in demo/
	@$(BIN)/python -m pipelines demo --out $(DEMO)

test: $(VENV)/.installed-dev  ## the quick tests
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) $(PYTEST_ARGS)

test-all: $(VENV)/.installed-dev  ## all tests, the slow and the thorough ones too: an hour or more
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

check: $(VENV)/.installed-dev  ## lint, format and types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

# --strict: a package that the advisories' server does not know fails it, and is not passed over
audit: constraints.txt  ## known holes of the versions in constraints.txt, by PyPI's advisories: needs pypi.org
	@test -x $(AUDIT_VENV)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT_VENV) && $(AUDIT_VENV)/bin/pip install -q pip-audit; }
	$(AUDIT_VENV)/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

ui: $(VENV)/.installed  ## the MLflow UI over the project's store
	$(BIN)/python -m pipelines ui

# MONAI Label pins releases that do not go with the project's: it, and what it brings, are installed without their pins
$(LABEL_VENV)/.installed: setup.cfg setup.py constraints.txt constraints-label.txt install.sh
	@PYTHON="$(PYTHON)" VENV="$(LABEL_VENV)" ALSO=constraints-label.txt ALONE="monailabel pydicom-seg" sh install.sh '.[label]'
	@touch $@

label-env: $(LABEL_VENV)/.installed  ## an environment of its own for MONAI Label; then: python -m pipelines label

bench: $(VENV)/.installed  ## speed and memory on this machine, of phantoms, as ratios; figures in bench/
	$(BIN)/python benchmarks/every_quick_one.py --out $(BENCH)

niivue: $(VENV)/.installed  ## NiiVue of another VERSION into the package, by npm
	$(BIN)/python benchmarks/vendor_niivue.py $(VERSION)

clean:
	rm -rf $(VENV) $(LABEL_VENV) $(AUDIT_VENV) build *.egg-info
