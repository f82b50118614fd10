#!/bin/sh
# Builds dist/greet: one file that runs anywhere, and that knows where it was built.
set -eu
mkdir -p dist
{
    cat greeting.sh
    echo "# built on $(uname -s)"
} >dist/greet
chmod +x dist/greet
