"""What stops a run. Each error says what is wrong and what to do about it."""

from typing import Any


class ConvertError(Exception):
    """The root of all errors that the pipeline raises on purpose."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"


class UsageError(ConvertError):
    """A parameter or a source that cannot be used as given."""


class SettingsError(ConvertError):
    """A setting that is missing, half there or malformed: an account's, or Prefect's."""


class AccountError(ConvertError):
    """Azure refused a request, or could not be reached."""


class PreflightError(SettingsError):
    """The accounts lack something that the run needs; there is a line for each."""

    def __str__(self) -> str:
        return f"{self.problem}\n{self.remedy}"


class OutputInUseError(ConvertError):
    """Another run holds the lock on the same output."""


class PoolError(ConvertError):
    """A pool that cannot do the work: no image, no nodes, or nodes that do not start."""


class ReportedError(ConvertError):
    """A run that came to its end, yet not as it was asked to; `report` tells what became of it."""

    def __init__(self, problem: str, remedy: str, report: Any = None) -> None:
        super().__init__(problem, remedy)
        self.report = report


class FilesFailedError(ReportedError):
    """Some files are not converted; the report tells which, and why."""


class ReportUnwrittenError(ReportedError):
    """The report cannot be written where it was asked for."""


class DownloadError(ConvertError):
    """A converted file that cannot be written where it was asked for."""
