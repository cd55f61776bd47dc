# Everything here calls pytest or a tool; this file holds no deploy logic. Further arguments are passed on to pytest.

[private]
default:
    @just --list --unsorted

# Install the missing system packages that the lab needs, and any others that you name.
packages *more:
    @setup/system-packages.sh {{ more }}

# Deploy the sample repository's good revision to two lab hosts; the last lines name the report.
demo: packages
    pytest --provider=lab --sha=main

# Deploy to the AWS instance DEPLOY_INSTANCE_ID through SSM; the commit defaults to DEPLOY_SHA.
[positional-arguments]
deploy-aws-ssm sha=env("DEPLOY_SHA", `git rev-parse HEAD`) *options:
    @sha="$1"; shift; pytest --provider=aws --sha="$sha" "$@"

# Deploy to the OVH nodes over SSH.
[positional-arguments]
deploy-ovh-ssh sha=env("DEPLOY_SHA", `git rev-parse HEAD`) *options:
    @sha="$1"; shift; pytest --provider=ovh --sha="$sha" "$@"

# Verify what runs on a provider's hosts, without changing anything.
[positional-arguments]
audit provider *options:
    @provider="$1"; shift; pytest --provider="$provider" --audit "$@"

# Restore the earlier system of a provider's hosts, and verify it.
[positional-arguments]
rollback provider *options:
    @provider="$1"; shift; pytest --provider="$provider" --rollback "$@"

# Deploy, verify, go back, verify, deploy again, verify.
[positional-arguments]
drill provider sha *options:
    @provider="$1" sha="$2"; shift 2; pytest --provider="$provider" --sha="$sha" --drill "$@"

# List every kept run on one page, and open it where there is a desktop.
[positional-arguments]
reports *options:
    @switchproof reports index --open "$@"

# Removed; the message names the replacement.
[private]
deploy-ec2 *_:
    @echo 'deploy-ec2 is gone: it restarted services without converging the host. Use: just deploy-aws-ssm SHA' >&2; exit 1

# Run the project's own tests, deploys on lab hosts included, but for the long ones; its last lines say what it left out.
test: (packages "chromium")
    pytest --numprocesses=4 --dist=loadfile -m "not long"

# Run all of the project's own tests; takes about 40 minutes on two cores.
test-all: (packages "chromium")
    pytest --numprocesses=3 --dist=loadfile

# Run the tests of `just test` five times in a row, and five times with every core kept busy; stops at the first failure.
test-steady: (packages "chromium")
    setup/test-steady.sh just test

# Run the tests of the host's script and of whole deploys on lab hosts of Debian's next release.
test-forky *options: packages
    SWITCHPROOF_LAB_SUITE=forky pytest tests/host tests/deploys {{ options }}

# Run the tests that need no hosts with the Python of a release of Debian: 3.11, 3.13 or 3.14. Needs root.
test-python version *options: packages
    setup/test-python.sh {{ quote(version) }} {{ options }}

# Run the tests that need no hosts with the oldest Python and the oldest dependencies that pyproject.toml allows.
test-lowest *options:
    uv run --isolated --no-project --python 3.11 --resolution lowest-direct --with-editable '.[dev]' pytest -m "not lab" --ignore=tests/browser {{ options }}

# Run the tests that need no hosts with each supported Python, and with the oldest dependencies; takes about a quarter of an hour.
test-pythons: (test-python "3.11") (test-python "3.13") (test-python "3.14") test-lowest

# Run what judges the code without running it.
lint: packages lint-python lint-shell lint-workflows

# Check the lint, format and types of Python.
lint-python:
    ruff check
    ruff format --check
    mypy
    lint-imports --no-logo

# Lint the shell scripts.
lint-shell:
    shellcheck --external-sources --check-sourced --source-path=SCRIPTDIR deploy/host/*.sh
    shellcheck setup/*.sh .ci/run $(git ls-files 'deploy/providers/lab/*' | xargs grep -lE '^#!(/usr)?/bin/(env )?(ba)?sh' --)
    shellcheck --external-sources tests/trials/subjects/*.sh tests/trials/programs/*

# Check the action and the CI workflows: the project's own, and the examples, which may pin actions by version.
lint-workflows:
    check-jsonschema --quiet --builtin-schema vendor.github-actions action.yml
    check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml docs/examples/github-*.yml
    check-jsonschema --quiet --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci docs/examples/gitlab-*.yml
    zizmor --quiet --offline --no-config action.yml .github/workflows/*.yml
    zizmor --quiet --offline --config docs/examples/zizmor.yml docs/examples/github-*.yml

# Survey this repository's own deploy paths; the vouched ones deploy only to the lab.
paths *options:
    switchproof paths . --vouch='.ci/run' --vouch='bench/*' --vouch='deploy/providers/lab/*' --vouch='tests/*' --vouch='trials/*' {{ options }}

# Write the JSON Schemas (target files, records, trials, surveys) and the SSM document of the shipped target file.
schema:
    switchproof schema target > docs/target.schema.json
    switchproof schema record > docs/record.schema.json
    switchproof schema trial > docs/trial.schema.json
    switchproof schema paths > docs/paths.schema.json
    DEPLOY_INSTANCE_ID=i-00000000 WORKDIR= switchproof schema ssm-document deploy/targets/aws.toml > docs/ssm-document.json

# Run all benchmarks in one order and write their results to docs/, with what has moved; takes about two hours.
bench *options: (packages "chromium")
    python -m bench --write {{ options }}

# Measure an audit beside its peers and write the table to docs/.
bench-verify *options: packages
    python -m bench.verify --write {{ options }}

# Measure audits of 10, 100 and 1,000 hosts beside pyinfra and write the table to docs/; takes about half an hour.
bench-fleet *options: packages
    python -m bench.fleet --write {{ options }}

# Measure deploys, good and failing, beside a shell loop and peers, and write the table to docs/.
bench-deploy *options: packages
    python -m bench.deploy --write {{ options }}

# Measure how long a way back takes and write the table to docs/.
bench-rollback *options: packages
    python -m bench.rollback --write {{ options }}

# Measure an audit and a deploy through SSM beside the old entry point's way and write the table to docs/.
bench-ssm *options: packages
    python -m bench.ssm --write {{ options }}

# Try the real NixOS programs in a folder, and write the table to docs/; takes about half an hour.
real dir *options: packages
    python -m bench.real {{ quote(dir) }} --write {{ options }}

# Deploy good revisions 100 times side by side and write to docs/ how many were canonical; takes about half an hour.
bench-steady *options: packages
    python -m bench.steady --write {{ options }}

# Start the lab's microVMs 200 times and write to docs/ how many came to serve; takes about a quarter of an hour.
bench-boots *options: packages
    python -m bench.boots --write {{ options }}

# Measure how large pages are and how long they take to open, and write the table to docs/.
bench-pages *options: (packages "chromium")
    python -m bench.pages --write {{ options }}

# Give the readers of hosts' answers hostile input beside benign input and write the table to docs/.
bench-hostile *options: packages
    python -m bench.hostile --write {{ options }}

# Survey small repositories with known answers, and write precision and recall of each finding to docs/.
bench-paths *options:
    python -m bench.paths --write {{ options }}

# Put mistakes into what judges, and fail if its tests notice too few of them; `just mutants fold` tries fold.py alone.
mutants *options:
    python -m bench.mutants {{ options }}

# Measure what the installed plugin adds to the start of somebody else's tests; fails above its limit.
bench-startup *options:
    python -m bench.startup --write {{ options }}

# Take the pictures in docs/ again, from real runs on lab hosts.
screenshots: (packages "chromium")
    python -m tests.browser.screenshots

# Cut a deploy at every point by every kind of loss, and write the table to docs/; takes about ten minutes.
cut-points: packages
    SWITCHPROOF_CUT_POINTS=all pytest tests/deploys/test_cut_points.py

# Run every mode against every fault, write the table to docs/, then break every machine and container; takes an hour.
faults: packages
    python -m tests.faults --write
    SWITCHPROOF_FAULTS=all pytest tests/deploys/test_faults.py tests/deploys/test_container_faults.py

# Enumerate the protocol on the host with two runs and every fault; takes about two minutes.
protocol:
    SWITCHPROOF_PROTOCOL=all pytest tests/protocol

# Deploy by hand from checkouts in every state; takes about two minutes.
checkouts: packages
    SWITCHPROOF_CHECKOUTS=all pytest tests/host/test_resolve.py

# Try every behaviour over SSH and through SSM, and write the table to docs/; takes about ten minutes.
parity: packages
    SWITCHPROOF_PARITY=all pytest tests/deploys/test_parity.py

# Deploy by every way to build and to log in, and write the table to docs/; takes about a quarter of an hour.
combinations: packages
    SWITCHPROOF_COMBINATIONS=all pytest tests/deploys/test_combinations.py

# Run our own deploy paths and every bad example through every scenario; takes about a quarter of an hour.
trials: packages
    SWITCHPROOF_TRIALS=all pytest tests/trials

# Prove all that the suite samples, and make every table and picture in docs/ again but that of `just real`; takes half a day.
prove: protocol checkouts trials cut-points parity combinations faults (mutants "--write") bench screenshots

# Pin CI's packages to the current releases: versions for tests, digests for packages that run beside deploy keys.
lock:
    uv pip compile --quiet --universal --extra dev --no-emit-index-url --no-emit-find-links --custom-compile-command "just lock" --upgrade --output-file requirements.lock pyproject.toml
    uv pip compile --quiet --universal --extra aws --extra paths --group build --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "just lock" --upgrade --constraint requirements.lock --output-file requirements-deploy.lock pyproject.toml

# Build wheel and sdist into dist/, install each into a fresh environment, and ask it for its version.
build:
    setup/build-package.sh

# Prepare a release on a clean main: set the version, date the changelog, build, check. It commits and publishes nothing.
release version:
    setup/release.sh {{ quote(version) }}
