# The two commands: `make demo` shows the whole thing on a real blog, `make test` runs every test.

CARGO ?= cargo
DENY := target/tools/bin/cargo-deny

FUZZ := target/tools/bin/cargo-fuzz

.PHONY: demo test soak fuzz servers lint deny bench-db bench-files clean

demo:
	tests/demo/demo.sh

# Unit and integration tests, against real private MariaDB and MySQL servers, a real S3 server and a real blog.
test: servers
	$(CARGO) test --locked --all-targets --no-fail-fast

# The tests that try to lose data, and the fuzz targets, in their long form, four hours and more: target/soak/result.json.
soak: servers $(FUZZ)
	tests/soak.sh

# Every parser of hostile input, FUZZ_MINUTES=10 each: in all, three hours and a half. FUZZ_TARGETS="pack sql" are these alone.
fuzz: $(FUZZ)
	CARGO_FUZZ=$(FUZZ) tests/fuzz.sh

$(FUZZ):
	$(CARGO) install cargo-fuzz --version 0.13.2 --locked --debug --root target/tools --target-dir target/tools/build

# The database servers that Debian's stable release lacks: the first time it takes some minutes and 1.1 GB in ~/.cache.
servers:
	tests/demo/install.sh
	tests/servers.sh

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

# Licences, sources and bans; advisories when their database can be reached.
deny: $(DENY)
	$(DENY) --locked check bans licenses sources
	@if GIT_TERMINAL_PROMPT=0 timeout 30 git ls-remote --quiet --exit-code https://github.com/RustSec/advisory-db HEAD >/dev/null 2>&1; then \
		$(DENY) --locked check advisories; \
	else \
		echo "advisories: not checked, their database can't be reached from here"; \
	fi

$(DENY):
	$(CARGO) install cargo-deny --version 0.20.2 --locked --debug --root target/tools --target-dir target/tools/build

# This agent beside mariadb-dump and mydumper: docs/BENCHMARKS.md, target/bench/db.json. BENCH_SCALE=0.05 BENCH_RUNS=1 tries it out.
bench-db:
	benches/db/run.sh

# This agent beside restic, rustic, borg and (by VYKAR=) vykar: docs/BENCHMARKS.md, target/bench/files.json. BENCH_SCALE=0.02 BENCH_RUNS=1 tries it out.
bench-files:
	benches/files/run.sh

clean:
	$(CARGO) clean
