"""StackError - anything about the servers that a person has to see
├── NotInstalled - something must be fetched first: `python -m devstack.install`
├── InUse - another process uses the directory
└── StartFailed - a server ended, or did not answer, while it was being started
"""

from __future__ import annotations


class StackError(Exception):
    """Its text says what happened and what to do."""


class NotInstalled(StackError):
    """A program or library of the servers is not on this machine yet."""


class InUse(StackError):
    """Another process holds the directory."""


class StartFailed(StackError):
    """A server did not come up; the text ends with the last lines of its log."""
