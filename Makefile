# Two commands do everything: make demo, and make test.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
GO ?= go
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BUILD := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)"
APT := iproute2 nftables tcpdump bind9-dnsutils openssl curl postgresql haproxy bind9 unbound dnsmasq-base knot-dnsutils dnsperf mosquitto mosquitto-clients openssh-client openssh-server rsync ansible-core xrdp rsyslog rsyslog-gnutls python3-qpid-proton
GOLANGCI := v2.15.0
STATICCHECK := v0.8.2
GOVULNCHECK := v1.8.0

.PHONY: help demo build test unit e2e deps lint vet fuzz bench soak cross clean

help: ## what can be made
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: build ## a whole world on this machine, with a screen to watch
	@bin/isthmus demo

build: ## bin/isthmus and the slim bin/isthmus-agent
	@mkdir -p bin
	@$(BUILD) -o bin/isthmus ./cmd/isthmus
	@$(BUILD) -o bin/isthmus-agent ./cmd/isthmus-agent

test: deps vet unit e2e cross ## everything that CI runs; installs what it needs

unit: ## every package, with the race detector; those that judge times have the machine to themselves
	ISTHMUS_NEED_POSTGRES=1 $(GO) test -race -timeout 10m $$($(GO) list ./... | grep -v /test/)
	ISTHMUS_NEED_POSTGRES=1 $(GO) test -race -p 2 -timeout 10m $$($(GO) list ./test/... | grep -v -e /test/e2e -e /test/abuse)
	ISTHMUS_NEED_POSTGRES=1 $(GO) test -race -timeout 10m ./test/abuse

e2e: ## the private path over network namespaces, real SDKs, faults (the namespaces need root)
	$(GO) test -count=1 -timeout 15m ./test/e2e

deps: ## Debian, npm and Go packages that the tests alone use
	@missing=(); for p in $(APT); do dpkg -s $$p >/dev/null 2>&1 || missing+=($$p); done; \
	if [ $${#missing[@]} -gt 0 ]; then $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $${missing[@]}; fi
	@for d in test/conformance test/eventhubs test/oidc; do if [ ! -d $$d/node_modules ] || [ $$d/package-lock.json -nt $$d/node_modules ]; then \
	(cd $$d && npm ci --no-audit --no-fund --loglevel=error && touch node_modules); fi; done
	@cd examples/checkpointstore && $(GO) mod download
	@cd test/eventhubs/go && for f in go.mod go-amqp-*.mod; do $(GO) mod download -modfile=$$f; done

vet: ## gofmt and go vet
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "gofmt would change: $$out"; exit 1; fi
	$(GO) vet ./...

lint: ## golangci-lint, staticcheck, govulncheck (installed when missing)
	@command -v golangci-lint >/dev/null || $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)
	@command -v staticcheck >/dev/null || $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK)
	PATH="$$PATH:$$($(GO) env GOPATH)/bin" golangci-lint run ./...
	PATH="$$PATH:$$($(GO) env GOPATH)/bin" staticcheck ./...
	@if curl -sfI --max-time 5 https://vuln.go.dev/index/db.json >/dev/null; then \
	{ command -v govulncheck >/dev/null || $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK); } && PATH="$$PATH:$$($(GO) env GOPATH)/bin" govulncheck ./...; \
	else echo "govulncheck left out: its database cannot be reached from here"; fi

fuzz: ## each fuzz target for FUZZTIME (10s)
	@for pkg in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $${FUZZTIME:-10s} $$pkg; done; done

bench: build ## the private path beside raw TCP and every peer on PATH: a table and bench/out/*.json
	$(GO) run ./bench
	$(GO) test -run '^$$' -bench Queries -benchtime 3x ./store/hubstore
	$(GO) test -run '^$$' -bench 'TwinPatches|MethodCalls|Commands' -benchtime 2s ./hub

soak: build ## what takes longer than CI may: long fuzzing, long load with faults
	FUZZTIME=2m $(MAKE) fuzz
	ISTHMUS_SOAK=30m $(GO) test -count=1 -timeout 60m -run 'TestFaults' ./test/e2e
	ISTHMUS_SOAK=1 $(GO) test -count=1 -timeout 60m ./test/abuse
	ISTHMUS_SOAK=1 $(GO) test -count=1 -timeout 30m ./test/eventhubs

cross: ## the agent and the command line build for every platform they are meant for; both kinds of processor of one system differ in nothing of ours
	@for t in linux/amd64 linux/arm64 linux/arm darwin/arm64 darwin/amd64 windows/amd64; do \
	echo "build $$t"; GOOS=$${t%/*} GOARCH=$${t#*/} GOARM=7 CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/isthmus-agent; done
	@for t in linux/arm darwin/arm64 windows/amd64; do \
	echo "vet $$t"; GOOS=$${t%/*} GOARCH=$${t#*/} GOARM=7 CGO_ENABLED=0 $(GO) vet ./cmd/isthmus; done

clean: ## what was built here
	rm -rf bin bench/out
