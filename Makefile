# The front door. Each target does its own set-up; the work is in tests/tools.

.PHONY: help demo test bench tools check
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 14

demo: ## try it: builds Tidegate, serves the example and prints what to click (ARGS="-o json" for scripts)
	@tests/tools/demo $(ARGS)

test: ## everything: format, lints, licences, every test; builds the real programs they need once
	@tests/tools/test

check: ## the quick loop: format, lints, licences, edges, tidiness
	@tests/tools/check

bench: ## figures as JSON lines: TOPIC=name (without: the list), ARGS passed on
	@tests/tools/bench $(TOPIC) $(ARGS)

tools: ## etcd, Kubernetes, Helm and more as tests use them (TOOLS=all: also a node); prints their directory
	@tests/tools/binaries $(TOOLS)
