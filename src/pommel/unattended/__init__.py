"""Installs macOS without a person: an account, and the scripts that run in Apple's Recovery.

account     the user's record, with the password's hash made on the host (core)
wishes      the user's wishes, checked (core)
scripts     the files of the script disk (core)
data/       the scripts themselves: POSIX sh, with only the tools that Recovery has

No Mac has run them yet: docs/unattended.md describes their assumptions.
"""
