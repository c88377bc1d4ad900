# Every target works on a fresh clone with only Python, pip and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-real tools dashboards dashboards-png chart image soak bench bench-ledger bench-signals release-check check format lock clean

help: ## Say what each target does
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(VENV)/.demo ## See it work: Meter in front of a simulated upstream, with traffic (no key, no network)
	$(BIN)/meter demo $(ARGS)

serve: $(VENV)/.demo ## Run the proxy, e.g. make serve ARGS='--upstream https://api.openai.com/v1'
	$(BIN)/meter serve $(ARGS)

test: $(VENV)/.dev ## Run the tests that need only Python
	$(BIN)/pytest -m 'not real and not slow and not release' -n auto $(ARGS)

test-real: $(VENV)/.real ## Run the tests that need more: Node, Go, curl, Prometheus, Chromium, Helm, buildah
	$(BIN)/pytest -m real $(ARGS)

tools: $(VENV)/.real .tools/checkov/.installed ## Get what tests need and no package has: Helm 3 and 4, Checkov, Prometheus 3
	$(BIN)/python tests/helm/fetch.py
	$(BIN)/python tests/prometheus.py

dashboards: $(VENV)/.dev ## Write the dashboards' JSON and the PrometheusRule anew from their sources
	$(BIN)/python -m dashboards.source.build
	$(BIN)/python -m dashboards.source.prometheusrule

dashboards-png: $(VENV)/.real ## Draw the dashboards from a running Prometheus, e.g. ARGS=http://127.0.0.1:9090
	$(BIN)/python tests/dashboards/picture/render.py $(ARGS)

chart: ## Copy rules and dashboards into the chart
	$(PYTHON) helm/sync.py

image: ## Build the container image
	docker build --build-arg REVISION=$$(git rev-parse HEAD) -t meter .

soak: $(VENV)/.dev ## Run 10,000 exchanges with faults on both sides, and fuzz for some minutes
	$(BIN)/pytest -m slow tests/test_soak.py $(ARGS)
	FUZZ=20 $(BIN)/pytest -n auto tests/test_fuzz.py $(ARGS)

bench: $(VENV)/.bench ## Compare Meter with nginx, Envoy, Caddy and a bare proxy; some seven minutes
	$(BIN)/python -m bench $(ARGS)

bench-ledger: $(VENV)/.dev ## Fill ledgers with ten million rows, and ask them; an hour
	$(BIN)/python -m bench.ledger --postgres --write bench/RESULTS-ledger.md $(ARGS)

bench-signals: $(VENV)/.bench ## Measure the CPU time of each signal, beside a proxy that meters nothing
	$(BIN)/python -m bench.signals

release-check: $(VENV)/.dev ## Ask another program, Arize Phoenix, what it reads in Meter's spans
	$(BIN)/pytest -m release $(ARGS)

check: $(VENV)/.real ## Lint, types, which way imports point, formatting, whether what is built from other files is fresh
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m dashboards.source.build --check
	$(BIN)/python -m dashboards.source.prometheusrule --check
	$(BIN)/python helm/sync.py --check

format: $(VENV)/.dev ## Put the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: $(VENV)/.dev ## Write requirements/*.txt anew from pyproject.toml
	for set in "run" "demo --extra demo --group build" "dev --extra demo --group dev" \
	    "real --extra demo --group real" "bench --extra demo --group bench"; do \
	  set -- $$set; name=$$1; shift; \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-annotate --no-emit-index-url --no-emit-find-links "$$@" pyproject.toml -o requirements/$$name.txt || exit 1; \
	done

clean: ## Remove what make has made
	rm -rf $(VENV) .tools .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

.tools/checkov/.installed: requirements/checkov.txt
	$(PYTHON) -m venv .tools/checkov
	.tools/checkov/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/checkov.txt
	touch $@

# One stamp a set of packages: a changed lock file installs anew, anything else starts at once.
$(VENV)/.%: requirements/%.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/$*.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@
