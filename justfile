# The commands people use; continuous integration uses the same ones.
# Each is run by `uv run`, which makes the environment on first use. A line that begins with "-" is one that people end
# with Ctrl-C: without it just would call that an error.

set shell := ["bash", "-euo", "pipefail", "-c"]

[private]
default:
    @just --list --unsorted

# Serve the demo page and call it with the client; Ctrl-C ends it (`--once`: only the calls, `--port N`)
demo *args:
    -uv run --no-dev triohttp demo {{ args }}

# Serve the smallest example on http://127.0.0.1:8080
serve *args:
    -uv run --no-dev python examples/hello.py {{ args }}

# Run the tests; arguments go to pytest
test *args:
    uv run pytest {{ args }}

# Everything that has to pass before a change goes in
check: lint types test docs

# Static types, strictly: the package, the examples, and what a checker knows of the public names
types:
    uv run mypy
    uv run mypy examples tests/typing

# Style and the usual mistakes
lint:
    uv run ruff check

# Build the documentation into docs/_build/html; a warning is an error
docs:
    uv run --extra docs sphinx-build -q -E -W --keep-going -b html docs docs/_build/html
    @echo "docs/_build/html/index.html"

# Measure this server and client beside their peers (needs wrk and nginx); `just bench server --quick` for a part
bench *args:
    uv run --no-project python bench/run.py {{ args }}

# Build the source distribution and the wheel into dist/
build:
    uv build

# Remove what the commands above made
clean:
    rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist docs/_build
