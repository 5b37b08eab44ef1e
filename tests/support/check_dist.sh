#!/bin/sh
# Build wheel and sdist, check them, and use the wheel in fresh environments.
#
# PYTHON builds; PYTHONS are the versions to install it with, those that are not there are named.
set -eu
: "${PYTHON:=python3}" "${PYTHONS:=3.11 3.12 3.13}"
here=$(pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$PYTHON" -m hatchling build -d "$work/dist"
"$PYTHON" -m twine check --strict "$work"/dist/*
used=0
for version in $PYTHONS; do
    if ! "python$version" -c '' 2>/dev/null; then
        echo "Python $version: not here"
        continue
    fi
    "python$version" -m venv "$work/$version"
    "$work/$version/bin/python" -m pip install --quiet "$work"/dist/*.whl
    cd "$work" # not beside the sources
    "$work/$version/bin/tofu-eval" score "$here"/examples/responses/*.jsonl --metric unique_rate \
        --metric self_bleu --output "$work/run-$version" >"$work/said"
    grep -q narrower "$work/said"
    cd "$here"
    echo "Python $version: installed, scored, compared"
    used=$((used + 1))
done
[ "$used" -gt 0 ] || { echo "None of Python $PYTHONS is here."; exit 1; }
