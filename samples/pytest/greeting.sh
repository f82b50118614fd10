#!/bin/sh
# Greets everybody who is named on standard input, one on each line.
while read -r name; do
    echo "hello, $name"
done
