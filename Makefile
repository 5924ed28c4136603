# The commands of this repository; `make help` lists them.
#
# Variables: ARGS="..." is passed on to the harness or to pytest. ASTERISK_SOURCE=<directory or
# tarball> or ASTERISK_RELEASE=<version> choose the Asterisk that is built; give them to demo and
# test as well, or export them. OPTIMIZE=-O2 compiles it as releases are, for what is to be said of
# CPU; that takes longer.

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
LINTERS := $(VENV)/.linters

# For the shell, whatever is in it.
quoted = '$(subst ','\'',$(1))'

.DEFAULT_GOAL := help
.PHONY: help frameworks deps ensure-deps check-python asterisk build demo test fuzz lint patches clean distclean \
	rounds upstream patch module install-module uninstall-module deb dist

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | \
		awk -F'|' '{ printf "%-22s %s\n", $$1, $$2 }'

deps: ## install what is missing on this machine, or say what and how
	@ci/deps.sh install

# For the targets below: what they can do without is only warned about.
ensure-deps:
	@ci/deps.sh ensure

check-python: | ensure-deps
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed; name one: make PYTHON=python3.12 ..." >&2; exit 1; }

$(INSTALLED): pyproject.toml client/pyproject.toml | $(if $(CHECKED),,check-python)
	@echo "installing Python packages into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install -qq --disable-pip-version-check --editable ./client --editable '.[test]'
	@touch $@

# Python's packages are installed while ./configure leaves a processor to them.
build: check-python ## build Asterisk, patched and stock, into build/
	@$(MAKE) --no-print-directory -j2 CHECKED=yes $(INSTALLED) asterisk

asterisk:
	@$(PYTHON) -B -m harness.install.build \
		$(if $(ASTERISK_SOURCE),--source $(call quoted,$(ASTERISK_SOURCE))) \
		$(if $(ASTERISK_RELEASE),--release $(call quoted,$(ASTERISK_RELEASE))) \
		$(if $(OPTIMIZE),--optimize=$(call quoted,$(OPTIMIZE)))

demo: build ## speech with marks on a real call, patched beside stock
	@$(VENV)/bin/harness demo $(ARGS)

# Some machines keep no bytecode; so many processes would compile everything again.
KEPT_BYTECODE = PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(CURDIR)/build/bytecode

test: build ## all tests: C natively, Python, and real calls
	@$(MAKE) --no-print-directory -C asterisk-module test
	@mkdir -p out
	@$(KEPT_BYTECODE) $(VENV)/bin/pytest -n auto --junitxml=out/junit.xml $(ARGS)

fuzz: ## fuzz the module's ledger and its text; SECONDS=300 for each
	@$(MAKE) --no-print-directory -C asterisk-module fuzz

$(LINTERS): pyproject.toml | $(INSTALLED)
	@echo "installing linters into $(VENV)"
	@$(VENV)/bin/pip install -qq --disable-pip-version-check --editable '.[lint]'
	@touch $@

# Half a gigabyte, which only the tests of the client's adapters need. pipecat-asterisk, which is
# measured beside them, asks for Python 3.12 and runs on older ones.
frameworks: $(INSTALLED) ## install Pipecat and LiveKit Agents, which are tested and measured then, too
	@echo "installing Pipecat and LiveKit Agents into $(VENV)"
	@$(VENV)/bin/pip install -qq --disable-pip-version-check \
		--editable './client[pipecat,livekit]' fastapi
	@$(VENV)/bin/pip install -qq --disable-pip-version-check --no-deps --ignore-requires-python \
		pipecat-asterisk==0.1.4

lint: $(INSTALLED) $(LINTERS) ## ruff, mypy; scripts, container files, CI files
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@ci/lint.sh

patches: build ## write the patch series anew from asterisk-module/
	@$(VENV)/bin/python -m harness.install.patches

rounds: $(INSTALLED) ## try the series on each source in SOURCES=<folder>; COMPILE_ONLY=yes
	@[ -n $(call quoted,$(SOURCES)) ] || \
		{ echo 'usage: make rounds SOURCES=<folder with trees or tarballs> [COMPILE_ONLY=yes]' >&2; \
		exit 2; }
	@$(VENV)/bin/harness rounds $(call quoted,$(SOURCES)) $(if $(COMPILE_ONLY),--compile-only) $(ARGS)

upstream: build ## write three pull requests for Asterisk's maintainers; ISSUE=<n> for Resolves
	@$(VENV)/bin/python -m harness.install.upstream $(if $(ISSUE),--issue $(ISSUE)) $(ARGS)

# The five below are for whoever runs or builds a PBX: python3 alone, none of the packages above.

patch: ## patch the source tree ASTERISK_SRC; ACTION=apply, check, revert, status
	@[ -n $(call quoted,$(ASTERISK_SRC)) ] || \
		{ echo 'usage: make patch ASTERISK_SRC=<folder> [ACTION=check|apply|revert|status]' >&2; \
		exit 2; }
	@$(PYTHON) -B -m harness.install.patch_tool $(call quoted,$(ASTERISK_SRC)) \
		$(call quoted,$(or $(ACTION),apply)) \
		$(if $(FORCE),--force)

# ASTERISK=<prefix> where it is not found by itself, ASTERISK_CONF=<asterisk.conf> where it is not
# the default one, ASTERISK_SOURCE=<directory or tarball> where its source cannot be downloaded.
MODULE_TOOL = $(PYTHON) -B -m harness.install.module
INSTALLED_ASTERISK = $(if $(ASTERISK),--prefix $(call quoted,$(ASTERISK))) \
	$(if $(ASTERISK_CONF),--conf $(call quoted,$(ASTERISK_CONF)))

module: ## build chan_websocket.so for the installed Asterisk
	@$(MODULE_TOOL) build $(INSTALLED_ASTERISK) \
		$(if $(ASTERISK_SOURCE),--source $(call quoted,$(ASTERISK_SOURCE))) $(if $(FORCE),--force)

install-module: ## exchange it for the stock one, also while Asterisk runs
	@$(MODULE_TOOL) install $(INSTALLED_ASTERISK)

uninstall-module: ## put the stock one back
	@$(MODULE_TOOL) uninstall $(INSTALLED_ASTERISK)

deb: ## a Debian package of it in dist/, for exactly the installed Asterisk package
	@$(MODULE_TOOL) deb $(INSTALLED_ASTERISK)

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
CLIENT_VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' client/pyproject.toml)
RELEASE = asterisk-playback-marks-$(VERSION)

# Of the commit and nothing else: who makes it from the same commit gets the same tarball.
dist: ## a tarball of what is committed in dist/, the client's wheel and sdist, and checksums
	@mkdir -p dist
	@git archive --format=tar --prefix=$(RELEASE)/ --output=dist/$(RELEASE).tar HEAD
	@gzip -9nf dist/$(RELEASE).tar
	@git diff --quiet HEAD || echo 'not in it: what is not committed' >&2
	@[ -x $(VENV)/bin/python ] || $(MAKE) --no-print-directory $(INSTALLED)
	@rm -rf build/dist && mkdir -p build/dist
	@tar -xzf dist/$(RELEASE).tar.gz -C build/dist --strip-components=1
	@$(VENV)/bin/python -m build --no-isolation --outdir dist build/dist/client >build/dist.log 2>&1 || \
		{ tail -n 20 build/dist.log >&2; exit 1; }
	@cd dist && sha256sum $(RELEASE).tar.gz chan_websocket-$(CLIENT_VERSION)* >SHA256SUMS && \
		cat SHA256SUMS

clean: ## remove what was built, but not what was downloaded
	@for entry in build/* out; do \
		[ "$$entry" = build/downloads ] || rm -rf "$$entry"; \
	done
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

distclean: clean ## remove downloads and the Python environment, too
	@rm -rf build dist $(VENV) *.egg-info
