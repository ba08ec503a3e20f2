"""The bodies of requests. Known properties are checked; unknown ones are ignored."""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from local_azure.batch.spec_types import (
    AllTasksComplete,
    Boolean,
    Count,
    Deallocation,
    Duration,
    Id,
    Number,
    Refused,
    RelativePath,
    ResizeTimeout,
    Retries,
    ScaleInterval,
    Several,
    Spec,
    TaskFailure,
    Text,
    Url,
    WallClock,
    lower,
)
from local_azure.batch.wire import FOREVER

WEEK = timedelta(days=7)


class Setting(Spec):
    name: Annotated[str, StringConstraints(pattern=r"^[^=\x00]+$")]
    value: Text = ""


class Metadata(Spec):
    name: str
    value: str


class AutoUser(Spec):
    scope: Annotated[Literal["task", "pool"], BeforeValidator(lower)] | None = None
    elevation_level: Annotated[Literal["nonadmin", "admin"], BeforeValidator(lower)] | None = None


class UserIdentity(Spec):
    username: Refused = None
    auto_user: AutoUser | None = None


class IdentityReference(Spec):
    resource_id: Text


class ResourceFile(Spec):
    http_url: Url
    file_path: RelativePath
    file_mode: Annotated[str, StringConstraints(pattern=r"^[0-7]{3,4}$")] | None = None
    auto_storage_container_name: Refused = None
    storage_container_url: Refused = None
    identity_reference: IdentityReference | None = None

    @property
    def is_by_identity(self) -> bool:
        return self.identity_reference is not None


class UploadHeader(Spec):
    name: Annotated[
        str,
        StringConstraints(
            pattern=r"^(?i:(x-ms-blob-)?(content-(type|encoding|language|disposition)"
            r"|cache-control)|x-ms-meta-[a-z_][a-z0-9_]*)$"
        ),
    ]
    value: Annotated[str, StringConstraints(pattern=r"^[^\r\n\x00]*$")] = ""


class ContainerDestination(Spec):
    container_url: Url
    path: Text | None = None
    upload_headers: Several[UploadHeader] | None = None
    identity_reference: IdentityReference | None = None


class Destination(Spec):
    container: ContainerDestination


class UploadOptions(Spec):
    upload_condition: Annotated[
        Literal["tasksuccess", "taskfailure", "taskcompletion"], BeforeValidator(lower)
    ]


class OutputFile(Spec):
    file_pattern: Annotated[Text, StringConstraints(min_length=1)]
    destination: Destination
    upload_options: UploadOptions

    @property
    def is_by_identity(self) -> bool:
        return self.destination.container.identity_reference is not None


class StartTask(Spec):
    command_line: Annotated[Text, StringConstraints(min_length=1)]
    resource_files: Several[ResourceFile] | None = None
    environment_settings: Several[Setting] | None = None
    user_identity: UserIdentity | None = None
    max_task_retry_count: Retries = 0
    wait_for_success: Boolean = True
    container_settings: Refused = None


class ImageReference(Spec):
    publisher: str | None = None
    offer: str | None = None
    sku: str | None = None
    version: str | None = None
    virtual_machine_image_id: str | None = None
    shared_gallery_image_id: str | None = None


class VirtualMachine(Spec):
    image_reference: ImageReference
    node_agent_sku_id: str
    container_configuration: Refused = None
    extensions: Refused = None
    data_disks: Refused = None


class SchedulingPolicy(Spec):
    node_fill_type: Annotated[Literal["spread", "pack"], BeforeValidator(lower)] = "spread"


class PoolChange(Spec):
    """PATCH of a pool: absent properties stay unchanged."""

    display_name: str | None = None
    start_task: StartTask | None = None
    metadata: Several[Metadata] | None = None
    task_slots_per_node: Annotated[Number, Field(ge=1, le=256)] | None = None
    task_scheduling_policy: SchedulingPolicy | None = None
    application_package_references: Refused = None
    certificate_references: Refused = None
    mount_configuration: Refused = None
    network_configuration: Refused = None
    user_accounts: Refused = None
    enable_inter_node_communication: Refused = None


class PoolProperties(Spec):
    """The body of updateproperties: absent properties are removed."""

    start_task: StartTask | None = None
    metadata: Several[Metadata] | None = None
    application_package_references: Refused = None
    certificate_references: Refused = None


class PoolSpec(PoolChange):
    id: Id
    vm_size: Annotated[str, StringConstraints(min_length=1)]
    virtual_machine_configuration: VirtualMachine
    resize_timeout: ResizeTimeout = timedelta(minutes=15)
    target_dedicated_nodes: Count | None = None
    target_low_priority_nodes: Count | None = None
    enable_auto_scale: Boolean = False
    auto_scale_formula: str | None = None
    auto_scale_evaluation_interval: ScaleInterval = timedelta(minutes=15)
    cloud_service_configuration: Refused = None


class Resize(Spec):
    target_dedicated_nodes: Count | None = None
    target_low_priority_nodes: Count | None = None
    resize_timeout: ResizeTimeout | None = None
    node_deallocation_option: Deallocation = "requeue"


class NodeRemoval(Spec):
    node_list: tuple[str, ...] = Field(strict=False, min_length=1, max_length=100)
    resize_timeout: ResizeTimeout | None = None
    node_deallocation_option: Deallocation = "requeue"


class NodeReboot(Spec):
    node_reboot_option: Deallocation = "requeue"


class SchedulingDisable(Spec):
    node_disable_scheduling_option: Deallocation = "requeue"


class AutoScale(Spec):
    auto_scale_formula: str | None = None
    auto_scale_evaluation_interval: ScaleInterval | None = None


class Formula(Spec):
    auto_scale_formula: str


class PoolInfo(Spec):
    pool_id: Id
    auto_pool_specification: Refused = None


class JobConstraints(Spec):
    max_wall_clock_time: WallClock = FOREVER
    max_task_retry_count: Retries = 0


class JobChange(Spec):
    """PATCH of a job: absent properties stay unchanged."""

    priority: Annotated[Number, Field(ge=-1000, le=1000)] | None = None
    max_parallel_tasks: Annotated[Number, Field(ge=-1)] | None = None
    constraints: JobConstraints | None = None
    pool_info: PoolInfo | None = None
    on_all_tasks_complete: AllTasksComplete | None = None
    metadata: Several[Metadata] | None = None
    network_configuration: Refused = None


class JobReplacement(JobChange):
    """PUT of a job: absent properties get their defaults."""

    pool_info: PoolInfo


class JobSpec(JobReplacement):
    id: Id
    display_name: str | None = None
    on_task_failure: TaskFailure = "noaction"
    common_environment_settings: Several[Setting] | None = None
    uses_task_dependencies: Refused = None
    job_manager_task: Refused = None
    job_preparation_task: Refused = None
    job_release_task: Refused = None


class JobDisable(Spec):
    disable_tasks: Annotated[Literal["requeue", "terminate", "wait"], BeforeValidator(lower)]


class JobTerminate(Spec):
    terminate_reason: str | None = None


class TaskConstraints(Spec):
    max_wall_clock_time: WallClock = FOREVER
    retention_time: Duration = WEEK
    max_task_retry_count: Retries = 0  # not the job's: that is for tasks without constraints


class TaskChange(Spec):
    """PUT of a task."""

    constraints: TaskConstraints | None = None


class TaskSpec(Spec):
    id: Id
    command_line: Annotated[Text, StringConstraints(min_length=1)]
    display_name: str | None = None
    resource_files: Several[ResourceFile] | None = None
    output_files: Several[OutputFile] | None = None
    environment_settings: Several[Setting] | None = None
    constraints: TaskConstraints | None = None
    required_slots: Annotated[Number, Field(ge=1, le=256)] = 1
    user_identity: UserIdentity | None = None
    affinity_info: Refused = None
    application_package_references: Refused = None
    authentication_token_settings: Refused = None
    container_settings: Refused = None
    depends_on: Refused = None
    exit_conditions: Refused = None
    multi_instance_settings: Refused = None


class TaskCollection(Spec):
    value: Several[dict[str, Any]]


def vm_cores(vm_size: str) -> int | None:
    """Return the cores in the name of a size, such as 2 in Standard_D2ds_v5, or None.

    Standard_E32-8ds_v5 has 8: it is the size of 32 cores with fewer.
    """
    found = re.search(r"_[A-Za-z]+(?:\d+-)?(\d+)", vm_size)
    return int(found.group(1)) if found else None
