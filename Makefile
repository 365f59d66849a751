# `make help` lists the targets. Everything a target needs beyond Go, Python and Node it installs itself, into
# .venv, node_modules and .cache.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

FUZZTIME ?= 30s
RESTARTS ?= 10
HOSTILE ?= 60s
VULNDB ?= https://vuln.go.dev
UV := 0.13.9
ARGS ?=

tool := go tool -modfile=tools/go.mod
python := $(CURDIR)/.venv/bin/python
buf := tools/node_modules/.bin/buf

# The race detector needs a C compiler; without one the tests run all the same.
race := $(if $(shell command -v $$(go env CC)),-race)

# Every directory with npm packages of its own, and the mark that says they are installed.
packages := $(patsubst %/package.json,%,$(wildcard tools/package.json clients/node/package.json examples/*/package.json))
installed := $(addsuffix /node_modules/.installed,$(packages))
client := $(wildcard clients/python/pyproject.toml)
extras := dev

# What the tests of every language look for.
export HOLDFAST_BROKER := $(CURDIR)/bin/broker
export HOLDFAST_NATS_SERVER := $(CURDIR)/bin/nats-server
# No test of what this repository promises may be skipped.
export HOLDFAST_REQUIRE_BROWSER := 1
export HOLDFAST_REQUIRE_CLIENTS := 1

.PHONY: help
help: ## Lists the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: .cache/python.installed $(installed) .cache/chromium.path ## Installs what the tests and generators need.

.venv/bin/python:
	python3 -m venv .venv

# Every package in one version and with its hash, those that others want included; see lock-python.
.cache/tools.installed: .venv/bin/python tools/requirements.lock
	$(python) -m pip install --quiet --disable-pip-version-check --require-hashes -r tools/requirements.lock
	@mkdir -p $(@D) && touch $@

# The generators do without the client, which they write a part of.
.cache/python.installed: .cache/tools.installed $(client)
	$(if $(client),$(python) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--editable clients/python && $(python) -m pip check)
	@touch $@

.PHONY: lock-python
lock-python: .venv/bin/python ## Renews tools/requirements.lock after a change of what Python needs.
	$(python) -m pip install --quiet --disable-pip-version-check uv==$(UV)
	cd tools && ../.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command 'make lock-python' --extra $(extras) \
		requirements.txt ../clients/python/pyproject.toml -o requirements.lock

# npm ci empties node_modules, so the mark cannot outlive what it stands for.
%/node_modules/.installed: %/package.json %/package-lock.json
	npm --prefix $* ci --no-audit --no-fund --loglevel=error
	@mkdir -p $(@D) && touch $@

# The path of a browser that was seen to start. CHROME_BIN wins over what is found.
.cache/chromium.path: tools/chromium tools/browser/package-lock.json
	@mkdir -p $(@D)
	tools/chromium > $@

.PHONY: build
build: ## Builds bin/broker and bin/nats-server.
	go build -o bin/broker ./cmd/broker
	go build -o bin/nats-server github.com/nats-io/nats-server/v2

.PHONY: run
run: ## Runs the broker: make run ARGS='--config holdfast.yaml'.
	go run ./cmd/broker $(ARGS)

.PHONY: demo
demo: ## Runs the broker with a demo backend and a chat page.
	go run ./cmd/broker --demo

.PHONY: test
test: test-go test-python test-node ## Tests everything: Go, Python, Node and the browser.

# The largest package takes five minutes where nobody else works; the ten that go test allows would be too few where others do.
.PHONY: test-go
test-go: build $(installed) .cache/python.installed .cache/chromium.path ## Tests the Go code; the browser tests are among these.
	CHROME_BIN="$${CHROME_BIN:-$$(cat .cache/chromium.path)}" go test $(race) -timeout 30m ./...
# The model of the life record is not built with -race: one goroutine through a million states has no races.
	$(if $(race),go test -run Model ./internal/bus/life)

.PHONY: test-python
test-python: build .cache/python.installed ## Tests the Python client.
	$(if $(client),cd clients/python && $(python) -m pytest,@echo 'clients/python: nothing to test')

.PHONY: test-node
test-node: build $(installed) .cache/python.installed ## Tests the Node client and the Node examples.
	$(foreach package,$(filter-out tools,$(packages)),\
		npm --prefix $(package) run --silent build --if-present && npm --prefix $(package) test --silent --if-present &&) true

.PHONY: lint
lint: lint-go lint-proto lint-python lint-node ## Checks formatting, linters and types in every language.

.PHONY: lint-go
lint-go: ## Checks the Go code: gofmt, goimports, vet, staticcheck and the rest of .golangci.yml.
	$(tool) golangci-lint fmt --diff
	$(tool) golangci-lint run

.PHONY: format
format: tools/node_modules/.installed ## Formats the Go code and the schema.
	$(tool) golangci-lint fmt
	$(buf) format --write

.PHONY: lint-proto
lint-proto: tools/node_modules/.installed ## Checks the schema.
	$(buf) lint
	$(buf) format --diff --exit-code

.PHONY: lint-python
lint-python: .cache/python.installed ## Checks the Python client and examples: ruff and mypy --strict.
	$(if $(client),cd clients/python && $(python) -m ruff check . ../../examples/python && \
		$(python) -m ruff format --check . ../../examples/python && $(python) -m mypy)

.PHONY: lint-node
lint-node: $(installed) ## Checks the Node client's types and style, and that no lock file names a registry.
	$(foreach package,$(filter-out tools,$(packages)),\
		npm --prefix $(package) run --silent build --if-present && \
		npm --prefix $(package) run --silent typecheck --if-present && \
		npm --prefix $(package) run --silent lint --if-present &&) true
	@! grep -l '"resolved": "http' $(addsuffix /package-lock.json,$(packages) tools/browser) || \
		{ echo 'These lock files name a registry: set omit-lockfile-registry-resolved=true in .npmrc.' >&2; exit 1; }

.PHONY: conformance
conformance: build ## Plays the WebSocket conformance cases against the broker: make conformance ARGS='-section 6'.
	go run ./conformance $(ARGS)

.PHONY: chaos
chaos: build ## Kills, stops and cuts off three brokers and NATS, and keeps a ledger: make chaos ARGS='-seed 7 -time 20m'.
	go run ./chaos $(ARGS)

.PHONY: soak
soak: build ## Restarts an embedded cluster RESTARTS (10) times one by one, and all at once.
	HOLDFAST_RESTARTS=$(RESTARTS) go test -run ComesBackFromEveryRestart -v -count 1 -timeout 1h ./cmd/broker

.PHONY: hostile
hostile: build ## A thousand hostile clients of every kind beside a hundred honest ones, for HOSTILE (60s).
	HOLDFAST_HOSTILE=$(HOSTILE) go test -run ThreatEverythingAtOnce -v -count 1 ./cmd/broker

.PHONY: vulncheck
vulncheck: ## Looks for known vulnerabilities in what the code calls; reads VULNDB (https://vuln.go.dev).
	$(tool) govulncheck -db $(VULNDB) ./...

.PHONY: fuzz
fuzz: ## Runs every fuzz target for FUZZTIME (30s), or so many times (10000x).
	grep -rnoE --include='*_test.go' --exclude-dir=node_modules '^func Fuzz\w+' cmd internal | \
		while IFS=: read -r file _ name; do \
			go test -run '^$$' -fuzz "^$${name#func }$$" -fuzztime $(FUZZTIME) "./$$(dirname "$$file")" </dev/null; \
		done

.PHONY: generate
generate: .cache/tools.installed tools/node_modules/.installed ## Writes the code generated from the schema.
	tools/generate

.PHONY: checkgenerate
checkgenerate: .cache/tools.installed tools/node_modules/.installed ## Fails if the generated code is stale.
	tools/generate --check

.PHONY: bench
bench: build bench/peers/node_modules/.installed ## Measures the broker beside its limits and renews docs/performance.md: make bench ARGS='-runs 1'.
	go run ./bench -write $(ARGS)

.PHONY: microbench
microbench: ## Runs the micro-benchmarks, compared with bench/data/micro.txt, or with a commit: make microbench BASE=main~5.
	tools/microbench $(BASE)

.PHONY: check
check: lint checkgenerate test ## Everything CI runs.

.PHONY: clean
clean: ## Removes everything that was built or installed here.
	rm -rf bin .cache .venv clients/node/dist clients/node/build
	rm -rf $(addsuffix /node_modules,$(packages) bench/peers)
