"""A batch task in Batch's JSON format.

The SDK's models of it take ten times as long to create and to send.
https://learn.microsoft.com/rest/api/batchservice/tasks/create-task-collection
"""

from typing import Literal, NotRequired, TypedDict


class NodeIdentity(TypedDict):
    resourceId: str


class Identified(TypedDict):
    """A blob that nodes reach through a managed identity. Without it, the URL has a SAS token."""

    identityReference: NotRequired[NodeIdentity]


class Setting(TypedDict):
    name: str
    value: str


class ResourceFile(Identified):
    httpUrl: str
    filePath: str


class Container(TypedDict):
    containerUrl: str
    path: str
    uploadHeaders: list[Setting]


class Destination(TypedDict):
    container: Container


UploadCondition = Literal["tasksuccess", "taskfailure", "taskcompletion"]


class UploadOptions(TypedDict):
    uploadCondition: UploadCondition


class OutputFile(TypedDict):
    filePattern: str
    destination: Destination
    uploadOptions: UploadOptions


class Constraints(TypedDict):
    retentionTime: str  # ISO 8601
    maxTaskRetryCount: int


class BatchTask(TypedDict):
    id: str
    commandLine: str
    environmentSettings: list[Setting]
    resourceFiles: list[ResourceFile]
    outputFiles: list[OutputFile]
    constraints: Constraints
