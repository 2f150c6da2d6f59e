# Daybook. `make` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo

# A debug build of `daybook` has the feature `testing`, which the tests' crates enable: so `make run` and `make test`
# share one build. A release build doesn't have it.
DEBUG_FEATURES := --features testing
# Sets of daybook's features that compile alone. The workspace's tests enable all features, so its build doesn't show
# what is missing or unused without one. `default` is what a release has.
FEATURE_SETS := none server cli private-postgres testing default

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## start the service with a sample team; no set-up needed
	$(CARGO) build --package daybook $(DEBUG_FEATURES)
	$${CARGO_TARGET_DIR:-target}/debug/daybook dev

.PHONY: test
test: test-packages ## run every test, each on its own database
	$(CARGO) test --workspace

.PHONY: soak
soak: test-packages ## run the long forms of the load tests: 100 kills, 100,000 messages, 10,000 jobs
	DAYBOOK_SOAK=1 $(CARGO) test --package daybook-tests --test it -- --nocapture \
		runs::killed live::load jobs::killed wide_events::accounting

# Installs PostgreSQL, the pooler and the browser that the tests need if it may; otherwise reports what is missing.
.PHONY: test-packages
test-packages:
	@missing=(); \
	command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer); \
	command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium); \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql); \
	if [ $${#missing[@]} -eq 0 ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing $${missing[*]} for the tests"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	else \
		echo "missing: $${missing[*]}; tests that need them are skipped, and print SKIPPED with the reason"; \
	fi

.PHONY: lint
lint: ## formatting, clippy, single features and docs, with warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	set -x; for set in $(FEATURE_SETS); do \
		$(CARGO) clippy --package daybook --lib --no-default-features --features "$${set#none}" -- --deny warnings; \
	done
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --workspace --no-deps --document-private-items

.PHONY: fuzz
fuzz: ## fuzz the HTTP API with schemathesis and the parsers with cargo-fuzz, for a limited time
	CARGO="$(CARGO)" fuzz/http.sh
	CARGO="$(CARGO)" fuzz/parsers.sh

.PHONY: mutants
mutants: ## try whether tests notice changed code: MODULES="text.rs json", TESTS=jobs::, or REF=a release
	CARGO="$(CARGO)" tests/mutants.sh

.PHONY: bench
bench: test-packages bench-packages ## print measurements as ratios to their floor, with the number of round trips
	$(CARGO) build --release --package daybook
	$(CARGO) bench --package daybook-tests --bench main_job
	$(CARGO) bench --package daybook-tests --bench live
	$(CARGO) bench --package daybook-tests --bench jobs
	$(CARGO) bench --package daybook-tests --bench runs
	$(CARGO) bench --package daybook-tests --bench wide_events

# Installs the load generator if it may; the benchmarks run without it, and then don't measure throughput.
.PHONY: bench-packages
bench-packages:
	@command -v wrk >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "wrk is missing; throughput is not measured"; exit 0; }; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk >/dev/null; }

.PHONY: db-migrate
db-migrate: ## apply pending migrations to DATABASE_URL, or to the private database
	$(CARGO) run --quiet --package daybook $(DEBUG_FEATURES) -- migrate up

.PHONY: db-rollback
db-rollback: ## roll back the last migration
	$(CARGO) run --quiet --package daybook $(DEBUG_FEATURES) -- migrate down

.PHONY: db-status
db-status: ## list applied and pending migrations
	$(CARGO) run --quiet --package daybook $(DEBUG_FEATURES) -- migrate status
