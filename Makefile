# make demo and make test do everything; `make help` lists the rest. Each target brings what it needs by itself.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/stateful-galera
LOCAL := $(CACHE)/kubeconfig
BUILT := $(CACHE)/artifact
INVENTORY ?= inventories/local/galera.conf

# make demo on a cluster that the user already has touches no local one; all else uses the local one
THEIRS := $(filter-out $(LOCAL),$(KUBECONFIG))
demo: export KUBECONFIG := $(or $(KUBECONFIG),$(LOCAL))
e2e molecule bench fault: export KUBECONFIG := $(LOCAL)
export PATH := $(CURDIR)/.venv/bin:$(CACHE)/bin:$(PATH)

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo env cluster images s3 kubeconfig test lint unit sanity artifact e2e molecule bench fault lock clean distclean

help:                  ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

demo: env $(if $(THEIRS),,cluster) ## a Galera cluster from inventories/local, on the local Kubernetes or on that of KUBECONFIG
	ansible-playbook -i $(INVENTORY) site.yml
	@bash local/connect.sh

# --- what the others need -----------------------------------------------------------------------------------------------
env: .venv/ready       ## the Python environment, in .venv
.venv/ready: requirements-dev.txt local/env.sh
	@bash local/env.sh

images:                ## the workload images; MARIADB=10.11 adds those of that version
	@bash local/images.sh

cluster: images        ## the local Kubernetes, with the images on its nodes
	@bash local/cluster.sh

s3:                    ## the S3 server that tests start
	@bash local/binaries.sh versitygw

kubeconfig:            ## print the path of its kubeconfig: export KUBECONFIG=$(make -s kubeconfig)
	@echo $(LOCAL)

# --- checks -------------------------------------------------------------------------------------------------------------
test: lint sanity unit e2e ## everything that the project checks

lint: env              ## ruff, mypy, yamllint, ansible-lint, shellcheck
	ruff check .
	ruff format --check .
	mypy plugins images/agent/galera_agent local
	yamllint --strict .
	ansible-lint
	@bash -c '. local/lib.sh && packages shellcheck:shellcheck'
	shellcheck $$(grep -rlE '^#!/bin/(ba)?sh|shellcheck shell' local images .ci --include='*' --exclude-dir=.mypy_cache)

unit: env s3           ## pure logic, rendering, and stores with a real S3 server
	pytest -n auto tests/unit images/agent/tests

artifact: env          ## the collection as a user installs it, in an empty path
	rm -rf $(BUILT)
	ansible-galaxy collection build --output-path $(BUILT)
	ansible-galaxy collection install --force --no-deps --collections-path $(BUILT) $(BUILT)/*.tar.gz

sanity: artifact       ## ansible-test sanity on the built collection
	bash tests/sanity/run.sh $(BUILT) $(CACHE)/sanity --exclude images/agent/   # no Ansible code: ruff and mypy check it

e2e: env cluster s3    ## molecule scenarios, manifests, examples, artifact, restore; two files at a time
	pytest -v -n 2 --dist loadfile --maxfail 5 --durations 15 tests/e2e   # a cluster that is broken would fail each test at its timeout

molecule: env cluster  ## one scenario: make molecule SCENARIO=default
	molecule test -s $(or $(SCENARIO),default)

bench: env cluster s3  ## measure, each figure with its floor
	python tests/bench/bench.py

fault: env cluster     ## the whole fault matrix, hours; make fault FAULTS=kill,freeze ARGS='--rounds 30 --rate 200' a part of it
	DOCKER_HOST=$$(bash -c '. local/lib.sh && engine >&2 && echo "$${DOCKER_HOST:-}"') \
	python tests/fault/run.py --allow machines --faults $(or $(FAULTS),all) --report $(CACHE)/fault $(or $(ARGS),--every)

lock:                  ## choose the versions in requirements-dev.txt anew
	uv pip compile --quiet --upgrade --python-version 3.11 --custom-compile-command 'make lock' requirements-dev.in -o requirements-dev.txt

clean:                 ## remove the local Kubernetes and the Docker engine started for it; caches stay
	@bash local/clean.sh

distclean:             ## remove the caches and .venv as well
	@bash local/clean.sh all
