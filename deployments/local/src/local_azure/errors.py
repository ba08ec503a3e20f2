"""Errors of the local stack. Each message names the problem and the remedy.

StackError (exit status 1)
└── StackUsageError (exit status 2)
"""


class StackError(Exception):
    """The local stack does not start, or ended early."""

    exit_status = 1


class StackUsageError(StackError):
    """An option cannot be met: another port, folder or file is required."""

    exit_status = 2
