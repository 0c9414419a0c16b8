# `make` alone lists the targets. Everything is installed into .venv, once.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUPPLY := $(VENV)-supply/bin
DEV := cpu,client,training,export,evaluation,teacher,otel,dev
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

RECIPE ?= training/recipes/svamp-mini.yaml
PLAN ?= training/ablations/objectives.yaml
# by default the recipe's output_dir
CHECKPOINT ?= $(shell sed -n "s/^output_dir: *['\"]*\([^ '\"#]*\).*/\1/p" $(RECIPE) 2> /dev/null)
GIVEN_CHECKPOINT = $(if $(filter file,$(origin CHECKPOINT)),,output_dir=$(CHECKPOINT))
BUNDLE ?= bundles/$(notdir $(CHECKPOINT))
URL ?= http://127.0.0.1:8000
ARGS ?=

.PHONY: help serve install test test-promise test-contract test-fuzz test-overload test-gpu-build test-ray \
	test-transformers5 test-containers soak bench bench-training bench-bulk bench-ray lint types \
	format init distill evaluate ablation-data ablate export refresh openapi recipe-keys audit sbom licences clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/.serve ## Install serving's packages, without torch, and serve on 127.0.0.1:8000
	$(BIN)/python -m service $(ARGS)

install: $(VENV)/.dev ## Install what training, export, evaluation and the tests need (torch for CPUs)

test: $(VENV)/.dev ## Install the tests' packages and run the tests
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile $(ARGS)

test-promise: $(VENV)/.dev ## Check that 20,000 answers do not depend on other requests
	DUET_TEST_REQUESTS=20000 $(BIN)/python -m pytest tests/e2e/test_promise.py $(ARGS)

test-contract: $(VENV)/.dev ## Check 11,000 answers of a server against its OpenAPI document
	DUET_TEST_EXAMPLES=300 $(BIN)/python -m pytest tests/e2e/test_contract.py -rP $(ARGS)

test-fuzz: $(VENV)/.dev ## Try 24,000 requests, manifests and templates that are almost right
	DUET_TEST_INPUTS=8000 $(BIN)/python -m pytest tests/unit/service/fuzz -rP $(ARGS)

soak: $(VENV)/.dev ## Serve near capacity for ten minutes; models change, clients leave
	$(BIN)/python -m tests.soak soak --readme service/README.md $(ARGS)

test-overload: $(VENV)/.dev ## Offer ten times the capacity and check time and memory
	$(BIN)/python -m tests.soak overload --readme service/README.md $(ARGS)

test-gpu-build: $(VENV)-gpu/.serve ## Test onnxruntime's build for GPUs, in .venv-gpu (large)
	$(VENV)-gpu/bin/python -m pytest tests/gpu --confcutdir tests/gpu $(ARGS)

test-ray: $(VENV)-ray/.ray ## Test the service and bulk jobs on Ray, in .venv-ray
	$(VENV)-ray/bin/python -m pytest tests/cluster --confcutdir tests/cluster \
		-W ignore::pydantic.PydanticDeprecatedSince20 $(ARGS)

test-transformers5: $(VENV)-transformers5/.training ## Test training with transformers 5, in .venv-transformers5
	$(VENV)-transformers5/bin/python -m pytest tests/unit/training \
		tests/e2e/test_distill_export_serve.py::test_the_other_objectives_learn_too $(ARGS)

bench: $(VENV)/.bench ## Measure Duet and its peers; writes the tables (15 minutes)
	$(BIN)/python -m tests.benchmarks --checkpoint $(CHECKPOINT) --readme README.md $(ARGS)

bench-training: $(VENV)/.bench ## Measure training and the usual loops (15 minutes)
	$(BIN)/python -m tests.benchmarks.training $(ARGS)

bench-bulk: $(VENV)/.bench ## Measure bulk jobs and the engine alone (15 minutes)
	$(BIN)/python -m tests.benchmarks.bulk --readme service/README.md $(ARGS)

bench-ray: $(VENV)/.bench $(VENV)-ray/.ray ## Measure one and two replicas on Ray (10 minutes; as root)
	$(BIN)/python -m tests.benchmarks.exports runs/bench-ray
	$(VENV)-ray/bin/python -m tests.benchmarks.replicas runs/bench-ray/int8-closed \
		--readme service/README.md $(ARGS)

lint: $(VENV)/.dev ## Check style and import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev ## Check types
	$(BIN)/mypy

format: $(VENV)/.dev ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# On a CPU, glibc returns large temporaries to the kernel at every step. That takes half of the
# training time. These thresholds make glibc keep them.
init distill ablate refresh: export MALLOC_MMAP_THRESHOLD_ = 4294967296
init distill ablate refresh: export MALLOC_TRIM_THRESHOLD_ = 17179869184

# $(call check,a test of the shell,what to say where it fails)
check = @$(1) || { echo "$@: $(2)" >&2; exit 2; }
check_recipe = $(call check,test -f '$(RECIPE)',RECIPE: $(RECIPE): no such file)
check_checkpoint = $(call check,test -d '$(CHECKPOINT)',CHECKPOINT: $(CHECKPOINT): no such folder; make distill with the same settings writes it)

init: $(VENV)/.dev ## Look at ROWS (a file, a folder, a data set), and write a recipe for them
	$(call check,test -n '$(ROWS)',give ROWS=…: a file or a folder of rows)
	$(BIN)/python -m duet init $(ROWS) $(ARGS)

distill: $(VENV)/.dev ## Distil RECIPE into CHECKPOINT, by default the recipe's output_dir; ARGS="key=value …" changes keys
	$(check_recipe)
	$(BIN)/python training/distill.py $(RECIPE) $(GIVEN_CHECKPOINT) $(ARGS)

evaluate: $(VENV)/.dev ## Calibrate CHECKPOINT, and write a report on the test rows of RECIPE, or its validation rows
	$(check_recipe)
	$(check_checkpoint)
	$(BIN)/python training/evaluate.py $(CHECKPOINT) --recipe $(RECIPE) --calibrate \
		--out $(CHECKPOINT)/evaluation $(ARGS)

ablation-data: $(VENV)/.dev ## Write the data of the ablation from the archive in data/dss
	$(BIN)/python -m tests.support.ablation_data data/dss data/ablation

ablate: $(VENV)/.dev ## Compare the objectives by PLAN (two hours on one core)
	OMP_NUM_THREADS=1 $(BIN)/python training/ablate.py $(PLAN) --readme training/README.md $(ARGS)

export: $(VENV)/.dev ## Export CHECKPOINT to BUNDLE, if both answer alike
	$(if $(GIVEN_CHECKPOINT),,$(check_recipe))
	$(check_checkpoint)
	$(BIN)/python -m export.convert $(CHECKPOINT) --out $(BUNDLE)

# NAME and VERSION count only on the command line: the environment may have some of its own.
given = $(if $(filter command,$(origin $(1))),$(2) $($(1)))
missing = $(strip $(if $(filter file,$(origin RECIPE)),RECIPE=…) $(if $(DATA),,DATA=…))
refresh: $(VENV)/.dev ## Distil CHECKPOINT, compare it with BUNDLE on DATA, and replace BUNDLE at URL
	$(call check,test -z '$(missing)',give $(missing))
	$(check_recipe)
	$(BIN)/python -m duet refresh $(RECIPE) $(ARGS) --checkpoint $(CHECKPOINT) --bundle $(BUNDLE) \
		--data "$(DATA)" --url $(URL) $(call given,NAME,--name) $(call given,VERSION,--version)

openapi: $(VENV)/.dev ## Write service/openapi.json again, after a change of the HTTP contract
	$(BIN)/python -m service.contract > service/openapi.json

recipe-keys: $(VENV)/.dev ## Write the table of training/README.md again, after a change of a recipe's keys
	$(BIN)/python -m training.reports.recipe_keys training/README.md

test-containers: $(VENV)/.dev ## Build the images and test them with docker-compose.yml (as root)
	docker/verify.sh $(ARGS)

audit: $(VENV)-supply/.tools ## Look for known vulnerabilities in serving's packages
	$(SUPPLY)/pip-audit --strict --no-deps --disable-pip --requirement $(VENV)-supply/serving.txt $(ARGS)

sbom: $(VENV)-supply/.tools ## Write the packages of serving to sbom.cdx.json (CycloneDX)
	$(SUPPLY)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-file sbom.cdx.json $(VENV)-supply/serving/bin/python

licences: $(VENV)-supply/.tools ## Write the licences of serving's packages to THIRD_PARTY.md
	{ sed '/^<!-- licences -->/q' THIRD_PARTY.md; \
		$(SUPPLY)/pip-licenses --python $(VENV)-supply/serving/bin/python --from=mixed \
			--order=name --format=markdown; \
		sed -n '/^<!-- \/licences -->/,$$p' THIRD_PARTY.md; } > $(VENV)-supply/THIRD_PARTY.md
	cp $(VENV)-supply/THIRD_PARTY.md THIRD_PARTY.md

clean: ## Remove the environment and the caches
	rm -rf $(VENV) $(VENV)-gpu $(VENV)-ray $(VENV)-supply $(VENV)-transformers5 \
		*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Duet needs Python 3.11 or newer; point PYTHON=… at one")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.serve: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[cpu,client]'
	touch $@

$(VENV)-gpu/.serve: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-gpu
	$(VENV)-gpu/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[gpu]' pytest
	touch $@

# Ray installs another event loop for uvicorn, so it has its own environment.
$(VENV)-ray/.ray: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-ray
	$(VENV)-ray/bin/python -m pip install --quiet --constraint constraints.txt \
		--editable '.[cpu,client,ray]' psutil pytest
	touch $@

$(VENV)-transformers5/.training: pyproject.toml constraints.txt constraints-transformers5.txt
	$(PYTHON) -m venv $(VENV)-transformers5
	awk -F "==" 'NR == FNR {newer[$$1]} NR == FNR || !($$1 in newer)' \
		constraints-transformers5.txt constraints.txt > $(VENV)-transformers5/constraints.txt
	$(VENV)-transformers5/bin/python -m pip install --quiet \
		--constraint $(VENV)-transformers5/constraints.txt \
		--editable ".[cpu,training,evaluation,teacher,dev]" onnx onnx-ir onnxscript
	touch $@

# `serving` holds only serving's packages: no pip, no tools.
$(VENV)-supply/.tools: pyproject.toml constraints.txt requirements-supply.txt
	$(PYTHON) -m venv $(VENV)-supply
	$(SUPPLY)/python -m pip install --quiet --requirement requirements-supply.txt
	$(PYTHON) -m venv --clear --without-pip $(VENV)-supply/serving
	$(SUPPLY)/python -m pip --python $(VENV)-supply/serving/bin/python install --quiet \
		--constraint constraints.txt --editable '.[cpu]'
	$(SUPPLY)/python -m pip --python $(VENV)-supply/serving/bin/python uninstall --quiet --yes duet
	$(SUPPLY)/python -m pip --python $(VENV)-supply/serving/bin/python freeze \
		> $(VENV)-supply/serving.txt
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[$(DEV)]'
	touch $@ $(VENV)/.serve

$(VENV)/.bench: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[$(DEV),bench]'
	touch $@ $(VENV)/.dev $(VENV)/.serve
