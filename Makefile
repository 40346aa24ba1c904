# make demo shows what liveapid does. make test runs all tests.
SHELL   := /bin/bash
BIN     := $(CURDIR)/bin
TOOLS   := $(BIN)/tools
GO      ?= go
FUZZTIME ?= 5s

.PHONY: all build demo test test-services test-debian13 lint deps packages bench attack soak fuzz tools npm proto clean

all: build

build: ## Build liveapid, liveapi, cpapi2, uapi and liveapi-email into bin/.
	@mkdir -p $(BIN)
	$(GO) build -trimpath -tags grpcnotrace -o $(BIN)/ ./cmd/...
	@ln -sf uapi $(BIN)/cpapi1 && ln -sf uapi $(BIN)/whmapi1

demo: build ## Change a real mailbox's password in every way that liveapid offers.
	@scripts/demo.sh $(BIN)

test: deps lint build npm ## Install the tests' requirements, then run all tests.
	$(GO) test -race -timeout 30m ./...
	@scripts/test-bindings.sh

test-services: deps build tools ## Test what talks to other programs: Dovecot, Postfix, databases, PHP, Perl, systemd.
	$(GO) test -timeout 20m ./tests ./plugins/... ./host/modules/... ./host/front/... ./host/admin/... ./host/identity/...
	@scripts/test-bindings.sh

test-debian13: ## Run all tests on Debian 13, in a root directory that debootstrap makes once. Needs root.
	@scripts/in-debian.sh trixie make test

lint: tools npm ## Run gofmt, go vet, staticcheck, perlcritic, phpcs and eslint; check commit subjects.
	@GO=$(GO) scripts/lint.sh $(TOOLS)

deps: ## Install the Debian packages that the tests use, if missing.
	@scripts/test-deps.sh

packages: tools ## Build deb and rpm packages for amd64 and arm64 into dist/, and check them if make deps was run.
	@rm -rf dist
	@GO=$(GO) scripts/packages.sh $(TOOLS) dist
	@if for tool in lintian rpmlint rpm cpio readelf; do command -v $$tool >/dev/null || exit 1; done; then scripts/check-packages.sh dist/*; else echo "the packages were not checked: make deps installs lintian and rpmlint"; fi

bench: build ## Measure; docs/benchmarks.md explains the figures. PROFILE=dir writes profiles of each part.
ifdef PROFILE
	@mkdir -p $(BIN)/profile $(PROFILE)
	$(GO) build -trimpath -tags grpcnotrace,profile -ldflags '-X github.com/liveapid/liveapid/cmd/internal/profiling.Dir=$(abspath $(PROFILE))' -o $(BIN)/profile/ ./cmd/...
	$(GO) run ./tests/bench -bin $(BIN)/profile -profile $(abspath $(PROFILE))
else
	$(GO) run ./tests/bench -bin $(BIN)
endif
	$(GO) test -run '^$$' -bench . -benchtime 50x -timeout 30m ./plugins/email/store/sqlstore

attack: build ## Attack a host as other users and as strangers would, at full size. Needs root.
	ATTACK_FULL=1 $(GO) test -timeout 10m -count 1 -v ./tests/attack

soak: build ## Test with many sessions and accounts, a million frames, and killed processes. SOAK_SCALE=10 does a tenth. Needs root.
	$(GO) test -tags soak -timeout 60m -count 1 -v ./tests/soak

fuzz: ## Fuzz each decoder for FUZZTIME.
	@scripts/fuzz.sh $(FUZZTIME)

tools: $(TOOLS)/staticcheck

npm: $(TOOLS)/npm/node_modules/.package-lock.json ## Install the packages from npm that the tests use.

$(TOOLS)/npm/node_modules/.package-lock.json: tests/web/package-lock.json
	@mkdir -p $(TOOLS)/npm
	@cp tests/web/package.json tests/web/package-lock.json $(TOOLS)/npm/
	cd $(TOOLS)/npm && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error

$(TOOLS)/staticcheck: tools/go.mod
	@mkdir -p $(TOOLS)
	cd tools && $(GO) build -o $(TOOLS)/ tool

proto: tools ## Regenerate protocol/plugin/pluginpb from the .proto (needs protobuf-compiler).
	PATH=$(TOOLS):$$PATH protoc -I . --go_out=. --go_opt=paths=source_relative \
	  --go-grpc_out=. --go-grpc_opt=paths=source_relative protocol/plugin/pluginpb/plugin.proto

clean:
	rm -rf $(BIN)
