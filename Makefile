# What is done by hand, each by one word. `make faults` takes an hour or more.
.PHONY: test lint docs faults bench

test:
	pytest

lint:
	ruff check
	ruff format --check
	mypy
	lint-imports

docs:
	mkdocs build --strict

faults:
	PILLARBOX_FAULTS=all python -m pytest tests/faults
	python -m tests.faults

bench:
	python -m bench.smtp
	python -m bench.rest
