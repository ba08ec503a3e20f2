"""A batch task as Batch's JSON has it.

The SDK has models of the same, and takes ten times as long to fill and to send them.
https://learn.microsoft.com/rest/api/batchservice/tasks/create-task-collection
"""

from typing import Literal, NotRequired, TypedDict


class NodeIdentity(TypedDict):
    resourceId: str


class Identified(TypedDict):
    """What nodes get at by a managed identity; where it is absent, the URL itself opens it."""

    identityReference: NotRequired[NodeIdentity]


class Setting(TypedDict):
    name: str
    value: str


class ResourceFile(Identified):
    httpUrl: str
    filePath: str


class Container(Identified):
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


class BatchTask(TypedDict):
    id: str
    commandLine: str
    environmentSettings: list[Setting]
    resourceFiles: list[ResourceFile]
    outputFiles: list[OutputFile]
    constraints: Constraints
