# The commands of the project. `make help` lists them.

SHELL := /bin/sh
.SHELLFLAGS := -eu -c

# Where Cargo builds. One profile and one folder for everything, and always the whole workspace, so that features are
# the same for all and nothing is built twice.
TARGET := $(or $(CARGO_TARGET_DIR),target)
STACK := $(TARGET)/debug/export-stack
RELEASE_BENCH := $(TARGET)/release/export-bench

# SQL is checked against .sqlx; `make sqlx` alone asks a database.
export SQLX_OFFLINE := true

.DEFAULT_GOAL := help
.PHONY: help demo test operators platforms isolation scale bench bench-heavy up down check fmt clippy deny doc alerts sqlx sqlx-check build tools readers

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | while IFS="$$(printf '\t')" read -r name what; do printf '  make %-10s %s\n' "$$name" "$$what"; done

demo: build ## Show one whole night, from a request to a verified download; KEEP=1 leaves it running
	@$(STACK) demo $(if $(filter-out 0 no,$(KEEP)),--keep)

# Most of a test is waiting for a server, so more run at once than there are cores.
test: build readers ## Run every test against real servers
	@tools/setup space
	@RUST_TEST_THREADS=$${RUST_TEST_THREADS:-8} cargo test --workspace --locked --no-fail-fast

# The same harness as the short round of `make test`; OPERATORS_SEED repeats a choice of operations.
operators: build ## Let operators loose on nights of 300 requests; ROUNDS=20
	@OPERATORS_ROUNDS=$(or $(ROUNDS),1) cargo test --workspace --locked --test it -- --exact --nocapture \
		faults::operators::whatever_operators_do_to_a_night_each_request_is_served_exactly_once

# They run in `make test`, too; here each says how many rows it compared.
platforms: build ## Export every account of the platforms in docs/platforms and compare it with SQL
	@cargo test --workspace --locked --test it -- --nocapture platforms::

# The test of `make test` has a hundred users.
isolation: build ## Compare every cell of USERS=2000 accounts with SQL, whatever their keys are
	@ISOLATION_USERS=$(or $(USERS),2000) cargo test --workspace --locked --test it -- --nocapture values::isolation::every_user

up: build ## Start the servers and a worker for development
	@$(STACK) up

scale: tools ## Measure one night of many small accounts; REQUESTS=20000 WORKERS=2
	cargo build --release --workspace --bins --locked
	@$(RELEASE_BENCH) night --requests $(or $(REQUESTS),20000) --workers $(or $(WORKERS),2) $(SCALE)

bench: tools ## Measure an export beside COPY and other tools
	@tools/setup bench
	cargo build --release --workspace --bins --locked
	@$(RELEASE_BENCH) export $(BENCH)

bench-heavy: tools ## The same on a million pipeline runs, and the memory of ten millions
	@tools/setup bench
	cargo build --release --workspace --bins --locked
	@$(RELEASE_BENCH) export --heavy $(BENCH)

# Also when the code does not compile just now.
down: ## Stop what `make up` and `make demo KEEP=1` started
	@[ -x $(STACK) ] || $(MAKE) --no-print-directory build
	@$(STACK) down

check: fmt clippy deny sqlx-check doc ## Check form, lints, dependencies, .sqlx and documentation

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets --locked -- --deny warnings

deny:
	@tools/setup deny
	PATH="$(CURDIR)/.tools/bin:$$PATH" cargo deny --locked check bans licenses sources

sqlx-check: tools
	tools/sqlx check

doc:
	RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --locked

# Not in `check`: promtool takes minutes to build, and the rules change seldom.
alerts: ## Test the alert rules
	@tools/setup alerts
	.tools/bin/promtool check rules temporal/alerts.yml
	.tools/bin/promtool test rules temporal/alerts_test.yml

sqlx: tools ## Update .sqlx after a change of our own SQL
	tools/sqlx

build: tools
	@cargo build --workspace --locked

tools: ## Find or install PostgreSQL, the Temporal CLI, versitygw and mailpit
	@tools/setup

readers:
	@tools/setup readers
