#!/bin/sh
# Looks for mistakes in what is neither Python nor C: scripts, container files, workflows, YAML.
# The tools are in the virtual environment, from the extra `lint` of pyproject.toml.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

shellcheck ci/*.sh ci/run .ci/run findings/*.sh
hadolint --config containers/hadolint.yaml containers/*.Dockerfile
yamllint --strict --config-file ci/yamllint.yaml .github .gitlab-ci.yml ci containers harness
# The schemas come with the tool, so that this works without a network.
check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
check-jsonschema --quiet --builtin-schema vendor.gitlab-ci .gitlab-ci.yml
