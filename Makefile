# deploykeyd. Each target does its own set-up; `make help` lists them.

GOLANGCI_VERSION := v2.15.0
FUZZTIME         ?= 60s
BENCHFLAGS       ?=
BOOTFLAGS        ?= -v
SIZE_LIMIT       := 15000000

# The linter is built by Go, once for each version, inside the tree.
GOLANGCI := $(CURDIR)/.cache/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint
export GOLANGCI_LINT_CACHE ?= $(CURDIR)/.cache/golangci-lint

# The clients that others wrote for the forges stay out of our own module.
COMPAT := provision/forgesim/compat
GOGIT  := cmd/deploykeyd/testdata/gogit
TOOLS  := packaging/tools

.PHONY: help build test boot-test package lint fuzz bench demo clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## static binaries bin/deploykeyd and bin/forgesim, with their sizes
	@packaging/setup.sh build
	packaging/build.sh bin/deploykeyd ./cmd/deploykeyd
	packaging/build.sh bin/forgesim ./cmd/forgesim
	@for f in bin/deploykeyd bin/forgesim; do \
		size=$$(wc -c <$$f); printf '%-16s %9d bytes\n' $$f $$size; \
		if [ $$size -gt $(SIZE_LIMIT) ]; then echo "$$f is over the limit of $(SIZE_LIMIT) bytes" >&2; exit 1; fi; \
	done

test: ## every test, with the race detector, in a random order
	@packaging/setup.sh test
	go test -race -shuffle=on ./...
	@for m in $(COMPAT) $(TOOLS); do echo "go test -race ./... in $$m"; (cd $$m && go test -race ./...) || exit 1; done

boot-test: ## boot real machines with systemd, cloud-init and the package
	@packaging/setup.sh boot
	go vet -tags boot ./packaging/boot
	go test -tags boot -count=1 -timeout 20m $(BOOTFLAGS) ./packaging/boot
	packaging/check-install.sh .cache/boot/packages/v0.1.0 .cache/boot/packages/v0.2.0

package: ## the packages in dist/, made twice and compared, with SBOM and checksums
	@packaging/setup.sh package
	@rm -rf dist
	packaging/reproducible.sh dist
	packaging/check.sh dist

lint: $(GOLANGCI) ## golangci-lint, go vet, go mod tidy, formatting
	go vet ./...
	go mod tidy -diff
	$(GOLANGCI) fmt --diff
	$(GOLANGCI) run --allow-parallel-runners ./...
	@for m in $(COMPAT) $(GOGIT) $(TOOLS); do echo "go vet, go mod tidy in $$m"; (cd $$m && go vet ./... && go mod tidy -diff) || exit 1; done

$(GOLANGCI):
	@packaging/setup.sh build
	GOFLAGS= GOBIN=$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

fuzz: ## every fuzz target for FUZZTIME (60s)
	@packaging/setup.sh build
	@packaging/fuzz.sh $(FUZZTIME)

bench: ## every benchmark; BENCHFLAGS adds to the command
	@packaging/setup.sh demo
	go test -run '^$$' -bench . -benchmem $(BENCHFLAGS) ./...

demo: ## one whole life on three forges, step by step
	@packaging/setup.sh demo
	@$(MAKE) --no-print-directory build
	packaging/build.sh bin/demo ./cmd/demo
	@bin/demo

clean: ## remove what the targets made
	rm -rf bin dist .cache
