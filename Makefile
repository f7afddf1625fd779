# Everything from nothing but Python 3.11 to 3.13 and make.
PYTHON ?= python3
PORT ?= 5000
serve: PORT := $(if $(filter command% environment%,$(origin PORT)),$(PORT),5001)
UV := .tools/bin/uv
BIN := $(CURDIR)/.venv/bin
READY := .venv/.ready
export PATH := $(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)

# A .venv is made anew where it was made from another locked list (by content: in a clone every file is new), where its
# Python is gone, and where its scripts name another place than this: they were made before scripts were told to find
# their Python beside themselves, and were moved.
RELOCATABLE := $(shell grep -s '^relocatable = true' .venv/pyvenv.cfg)
STALE := $(shell test -e $(READY) && cmp -s requirements/locked.txt $(READY) && test -x .venv/bin/python && \
	{ test -n '$(RELOCATABLE)' || test "$$(dirname "$$(sed -n '1s/^#! *//p' .venv/bin/dvc)")" -ef .venv/bin; } || echo stale)

.PHONY: help setup repro test test-long lint verify faults fuzz bench audit dependencies ui serve clean lock stale

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

setup: $(READY)  ## build .venv from the locked list
	@python -m pipeline.repair

repro: $(READY)  ## fetch, preprocess, train, evaluate; what is done already is not done again
	@python -m pipeline.repair
	@dvc repro
	@python -m pipeline.summary

test: $(READY)  ## the tests, fast ones first; no network
	@python -m pytest

test-long: $(READY) .search/.ready  ## the long tests: a browser, other launchers, DVC's queue, a worker's memory, a team's servers, a search
	@CI=true python -m pytest -m long
	@! test -e .search/.ready || \
		CI=true .search/venv/bin/python -m pytest -m long tests/test_studies_search.py tests/test_verb_search.py
	@python -m faults --stamp

lint: $(READY)  ## format, rules, which room imports which, types
	@ruff format --check .
	@ruff check .
	@lint-imports --no-logo
	@mypy

verify: $(READY)  ## read everything that was made, DVC's cache included, and name what is damaged
	@python -m pipeline.verify

faults: $(READY)  ## inject every fault of docs/reliability.md and look at what is left (hours; resumable; SHORT=1)
	@python -m faults $(if $(SHORT),--short)

fuzz: $(READY) .fuzzing/.ready  ## fuzz the IDX decoder and the configuration, an hour of CPU each (FUZZ_SECONDS=60)
	@python -m faults.fuzzing

bench: $(READY) .bench/.ready  ## measure docs/performance.md on a machine that does nothing else (hours; QUICK=1)
	@dvc repro preprocess > /dev/null
	@python -m benchmarks $(if $(QUICK),--quick)

audit: $(READY) .audit/.ready  ## ask an advisory database about the locked packages (needs a network)
	@python -m dependencies.audit

dependencies: $(READY) .fuzzing/.ready .audit/.ready  ## write docs/dependencies.md: every locked package, its licence
	@python -m dependencies.licences

ui: $(READY)  ## the MLflow UI on loopback (PORT=5000)
	@python -m pipeline.ui --port $(PORT)

serve: $(READY)  ## the released model over HTTP on loopback (PORT=5001)
	@python -m pipeline.serve --port $(PORT)

clean:  ## remove what is cheap to make again; what took long (records, cache) after a question, or with ALL=1
	@$(PYTHON) -m pipeline.clean $(if $(ALL),--all)

lock: $(UV)  ## renew the locked lists
	$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --upgrade \
		--python-version 3.11 --group dev pyproject.toml -o requirements/locked.txt
	echo uv | $(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--upgrade --python-version 3.11 - -o requirements/uv.txt
	echo pip-audit | $(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--upgrade --python-version 3.11 - -o requirements/audit.txt
	printf 'atheris\nfilelock\nhydra-core\nnumpy\npydantic\nrequests\nrich\nruamel-yaml\n' | $(UV) pip compile -q \
		--universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 \
		-c requirements/locked.txt - -o requirements/fuzzing.txt
	printf 'keras-tuner\ntensorboard\n' | $(UV) pip compile -q --universal --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --python-version 3.11 -c requirements/locked.txt - -o requirements/bench.txt
	.venv/bin/python -c 'from importlib.metadata import requires; print(*(one.partition(";")[0] for one in \
		requires("tensorflow") if "and-cuda" in one), sep="\n")' | $(UV) pip compile -q --universal --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --no-deps --python-version 3.11 - -o requirements/cuda.txt
	@# From 1.3 on backports-strenum refuses every Python from 3.11 on, which pip obeys and uv does not.
	printf 'ai-edge-litert\nbackports-strenum<1.3\nonnx\nonnxruntime\ntf2onnx\n' | $(UV) pip compile -q --universal --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --python-version 3.11 -c requirements/locked.txt - \
		-o requirements/export.txt
	echo 'ray<3' | $(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--python-version 3.11 -c requirements/locked.txt - -o requirements/cluster.txt
	echo 'optuna<6' | $(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--python-version 3.11 -c requirements/locked.txt - -o requirements/search.txt
	@# S3's clients want an earlier python-dateutil than a Python before 3.12 has otherwise: that one alone may move.
	sed '/^python-dateutil/,/[^\\]$$/d' requirements/locked.txt > .tools/but-dateutil.txt
	printf 'Flask-WTF<2\nboto3\ndvc-s3\npsycopg[binary]>=3\nseaweedfs-bin\n' | $(UV) pip compile -q --universal \
		--generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 \
		-c .tools/but-dateutil.txt - -o requirements/team.txt

$(READY): $(STALE) | $(UV)
	@test ! -L .venv || { echo "error: .venv is a link, and what it leads to, perhaps another project's, would be emptied:" \
		"remove the link, and make builds one here"; exit 1; }
	@$(UV) venv -q $(if $(RELOCATABLE),--allow-existing,--clear) --relocatable \
		--python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	@echo "installing the locked packages into .venv (about 3 GB)"
	@# A terminal sees what is under way; a log would get every package by name.
	@$(UV) pip sync $$(test -t 2 || echo -q) --require-hashes --compile-bytecode --python .venv requirements/locked.txt
	@# A plain sh can't tell where a script lies that it sources.
	@sed 's|"$$SCRIPT_PATH"|"$${SCRIPT_PATH:-.venv/bin/activate}"|' .venv/bin/activate > .venv/activate
	@mv .venv/activate .venv/bin/activate
	@ln -sf ../../conv2d .venv/bin/conv2d
	@for packages in .venv/lib/python*/site-packages; do echo ../../../.. > "$$packages/project.pth"; done
	@cp requirements/locked.txt $@

.fuzzing/.ready .audit/.ready: .%/.ready: requirements/%.txt $(UV) $(READY)
	@$(UV) venv -q --allow-existing --python .venv/bin/python .$*/venv
	@$(UV) pip sync -q --require-hashes --python .$*/venv requirements/$*.txt
	@touch $@

# Over the project's own packages, which stay as they are locked.
.bench/venv/pyvenv.cfg .search/venv/pyvenv.cfg: .%/venv/pyvenv.cfg: $(READY)
	@.venv/bin/python -m venv .$*/venv
	@for packages in .$*/venv/lib/python*/site-packages; do \
		echo "../../../../../$${packages#.$*/}" | sed 's|/venv/|/.venv/|' > "$$packages/project.pth"; done

.search/.ready: requirements/search.txt .search/venv/pyvenv.cfg
	@if .search/venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $<; then touch $@; \
		else echo "Optuna could not be installed: the tests that need it are left out"; fi

# What the project is compared with. PyTorch by its version alone, and with pip: where a build for CPUs is at hand, which
# has a hash of its own, pip finds it.
.bench/.ready: requirements/bench.txt requirements/torch.txt .bench/venv/pyvenv.cfg
	@if .bench/venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bench.txt && \
		.bench/venv/bin/python -m pip install -q --disable-pip-version-check -r requirements/torch.txt; then touch $@; \
		else echo "pip could not install PyTorch or KerasTuner: measured without; the next make bench tries again"; fi

$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "error: $(PYTHON) must be Python 3.11 to 3.13; name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .tools || \
		{ echo "error: $(PYTHON) has no venv (on Debian: apt-get install python3-venv)"; exit 1; }
	@# By content: in a copy of the project every file is new, and there may be no network.
	@cmp -s $< .tools/uv.txt && test -x $@ || \
		.tools/bin/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r $<
	@cp $< .tools/uv.txt
	@touch $@
