# Everything a person or CI needs; each target sets up what it uses.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help install demo demo-kafka test test-fast lint chaos recovery bench bench-labels bench-coverage bench-kafka schemas clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("found Python %d.%d; stream-al needs 3.11 or newer: make PYTHON=python3.12 ..." % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(STAMP)  ## make .venv with everything in it

demo: $(STAMP)  ## the main job on real data: ask 1 % of the labels, compare with random sampling
	$(BIN)/stream-al demo

demo-kafka: $(STAMP)  ## the same pipeline on a real Kafka: two replicas, one of them killed; needs Java and Maven, or Docker
	$(BIN)/python -m benchmarks.demo_kafka

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(STAMP) lint  ## everything CI runs
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-fast: $(STAMP)  ## the tests that take seconds
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist worksteal

KILLS ?= 1000
chaos: $(STAMP)  ## kill replicas and brokers of a real Kafka under traffic; broken off, it goes on from there
	$(BIN)/python -m benchmarks.chaos --kills $(KILLS)

recovery: $(STAMP)  ## how long a real Kafka and a group need after each kind of death
	$(BIN)/python -m benchmarks.recovery

bench: $(STAMP)  ## benchmarks: ratios against a peer or a ceiling in the same run
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks

LABELS ?= --quick
bench-labels: $(STAMP)  ## what the same labels buy, against the field's strategies; LABELS='--full --data FOLDER'
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks.labels $(LABELS)

DATA ?=
bench-coverage: $(STAMP)  ## how often the accuracy's interval holds the truth; DATA=FOLDER adds the public streams
	$(BIN)/python -m benchmarks.bench_coverage $(if $(DATA),--data $(DATA))

bench-kafka: $(STAMP)  ## throughput on a real Kafka against bare loops of the same shape
	$(BIN)/python -m benchmarks.bench_kafka

schemas: $(STAMP)  ## write schemas/json from the message models
	$(BIN)/stream-al schemas export schemas/json

clean:  ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
