"""The errors of a run. Each names a problem and the remedy.

ConvertError                    the root
├── UsageError                  a parameter or a source is unusable: correct the command
├── SettingsError               a setting is missing, incomplete or malformed: set it
│   └── PreflightError          the accounts lack what the run needs: fix each line
├── AccountError                Azure refused a request or did not respond: check the account
├── PoolError                   the pool cannot do the work: change its parameters
├── OutputInUseError            another run holds the lock: wait, or use another prefix
├── DownloadError               an output cannot be written here: choose another folder
└── ReportedError               the run ended with a report that says more
    ├── FilesFailedError        some files are not converted: read their reasons
    └── ReportUnwrittenError    the report file cannot be written: choose another path
"""

from typing import Any

from tasks.results.text import printable_lines


class ConvertError(Exception):
    """The root of all errors that the pipeline raises on purpose.

    Logs, terminals and Prefect show its text, which may have names in it: control characters are
    escaped.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = printable_lines(problem)
        self.remedy = printable_lines(remedy)
        super().__init__(self.problem, self.remedy)

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"


class UsageError(ConvertError):
    """A parameter or a source that cannot be used as given."""


class SettingsError(ConvertError):
    """A setting of an account or of Prefect that is missing, incomplete or malformed."""


class AccountError(ConvertError):
    """Azure refused a request or did not respond."""


class PreflightError(SettingsError):
    """The accounts lack something that the run needs. The problem has a line for each."""

    def __str__(self) -> str:
        return f"{self.problem}\n{self.remedy}"


class OutputInUseError(ConvertError):
    """Another run holds the lock on the same output."""


class PoolError(ConvertError):
    """A pool that cannot do the work: it has no image or no nodes, or it does not match."""


class ReportedError(ConvertError):
    """The run ended, but not as requested. `report` says what happened to each file."""

    def __init__(self, problem: str, remedy: str, report: Any = None) -> None:
        super().__init__(problem, remedy)
        self.report = report


class FilesFailedError(ReportedError):
    """Some files are not converted. The report has their reasons."""


class ReportUnwrittenError(ReportedError):
    """The report cannot be written to the requested file."""


class DownloadError(ConvertError):
    """A converted file that cannot be written to the requested folder."""
