"""Errors of the local stack. Each has a problem and a remedy.

StackError (exit status 1)
└── StackUsageError (exit status 2)
"""


class StackError(Exception):
    """The local stack does not start, or ended early."""

    exit_status = 1

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"


class StackUsageError(StackError):
    """An option cannot be met: another port, folder or file is required."""

    exit_status = 2
