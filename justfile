# Everything here calls pytest or a tool; no deploy logic stands in this file.

[private]
default:
    @just --list --unsorted

# Install the system packages that the lab and the tests need and this machine lacks.
packages:
    @setup/system-packages.sh

# Deploy the sample repository's good revision to two lab hosts; the last lines say where the report is.
demo: packages
    pytest --provider=lab --sha=main

# Run the project's own tests, whole deploys on lab hosts included.
test: packages
    pytest --numprocesses=2 --dist=loadfile

# Run what judges the code without running it.
lint: packages
    ruff check
    ruff format --check
    mypy
    shellcheck deploy/host/*.sh setup/*.sh .ci/run $(git ls-files 'deploy/providers/lab/*' | xargs grep -lE '^#!(/usr)?/bin/(env )?(ba)?sh' --)

# Write the JSON Schema of target files, for editors.
schema:
    python -m deploy.target > docs/target.schema.json

# Measure an audit beside its peers and write the table to docs/.
bench: packages
    python -m bench.verify --write

# Measure how long a way back takes and write the table to docs/.
bench-rollback: packages
    python -m bench.rollback --write

# Start the lab's microVMs 200 times and write to docs/ how many came to serve; takes about a quarter of an hour.
bench-boots: packages
    python -m bench.boots --times 200 --write

# Cut a deploy at every point by every kind of loss and write the table to docs/; takes about ten minutes.
cut-points: packages
    SWITCHPROOF_CUT_POINTS=all pytest tests/deploys/test_cut_points.py

# Break each of the lab's units in every way, deploy and audit; takes about four minutes.
faults: packages
    SWITCHPROOF_FAULTS=all pytest tests/deploys/test_faults.py

# Pin what is installed in CI to what is current now.
lock:
    uv pip compile --quiet --universal --extra dev --no-emit-index-url --no-emit-find-links --custom-compile-command "just lock" --upgrade --output-file requirements.lock pyproject.toml
