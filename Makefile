# The two commands: `make demo` shows the whole thing on a real blog, `make test` runs every test.

CARGO ?= cargo
DENY := target/tools/bin/cargo-deny

.PHONY: demo test lint deny clean

demo:
	tests/demo/demo.sh

# Unit and integration tests, against a real private MariaDB, a real S3 server and a real blog.
test:
	tests/demo/install.sh
	$(CARGO) test --locked --all-targets

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

clean:
	$(CARGO) clean
