"""The Bicep files agree with their grammar, the models of the SDKs and the pipeline.

No test compiles them: this requires the Bicep compiler, or `az deployment group validate`.
"""

import re
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import azure.mgmt.batch.models
import azure.mgmt.storage.models
import pytest
from annotated_types import Le
from azure.batch import BatchClient
from azure.batch import models as m
from azure.identity import DefaultAzureCredential
from azure.mgmt.batch import BatchManagementClient
from azure.mgmt.storage import StorageManagementClient
from records import NOW

from bicep import Bicep, arguments, called, entries, literal, misfits, text, walk
from local_azure.batch.autoscale import Scene, evaluate
from local_azure.batch.history import History
from local_azure.batch.images import SUPPORTED
from tasks.azure.settings import SETTINGS, Environment, check_environment
from tasks.naming import log_container, memory_container
from tasks.parameters import Cleanup, Limits, Node, Output, Pool
from tasks.slots import read_vcpus
from tasks.start_task import start_task

FOLDER = Path(__file__).parents[3] / "deployments" / "azure"
MAIN = Bicep(FOLDER / "main.bicep")
POOL = Bicep(FOLDER / "pool.bicep")
FILES = [pytest.param(MAIN, id="main"), pytest.param(POOL, id="pool")]
FUNCTIONS = {"empty", "guid", "join", "loadTextContent", "replace", "resourceGroup", "trim"} | {
    "subscriptionResourceId",
    "uniqueString",
    "utcNow",
}
PARAMETERS = MAIN.of("parameter")
RESOURCES = MAIN.of("resource")
# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "batchDataContributor": "6aaa78f1-f7de-44ca-8722-c64a23943cae",
    "blobDataContributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "blobDataReader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "blobDelegator": "db58b8e5-c6ad-4a2a-8342-4190687cbf4a",
}
# https://learn.microsoft.com/azure/templates: the versions that the files were written for.
VERSIONS = {
    "Microsoft.Authorization/roleAssignments": "2022-04-01",
    "Microsoft.Batch/batchAccounts": "2025-06-01",
    "Microsoft.Batch/batchAccounts/pools": "2025-06-01",
    "Microsoft.Consumption/budgets": "2024-08-01",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "2024-11-30",
    "Microsoft.Storage/storageAccounts": "2025-06-01",
    "Microsoft.Storage/storageAccounts/blobServices": "2025-06-01",
    "Microsoft.Storage/storageAccounts/blobServices/containers": "2025-06-01",
    "Microsoft.Storage/storageAccounts/managementPolicies": "2025-06-01",
}
BATCH, STORAGE = azure.mgmt.batch.models, azure.mgmt.storage.models
MODELS: dict[str, Any] = {
    "batch": (BATCH.BatchAccountCreateParameters, BATCH),
    "storage": (STORAGE.StorageAccountCreateParameters, STORAGE),
    "blobs": (STORAGE.BlobServiceProperties, STORAGE),
    "work": (STORAGE.BlobContainer, STORAGE),
    "sources": (STORAGE.BlobContainer, STORAGE),
    "lifecycle": (STORAGE.ManagementPolicy, STORAGE),
    "pool": (BATCH.Pool, BATCH),
}


def assignments() -> dict[str, tuple[str, str, str]]:
    """Return principal, role and scope of each role assignment, by its name."""
    found = {}
    for name, resource in RESOURCES.items():
        if resource.type_and_version[0] == "Microsoft.Authorization/roleAssignments":
            properties = entries(entries(resource.body)["properties"])
            role = text(properties["roleDefinitionId"].named_children[1].named_children[-1])
            scope = text(entries(resource.body)["scope"])
            found[name] = (text(properties["principalId"]), role, scope)
    return found


@pytest.mark.parametrize("file", FILES)
def test_the_file_has_no_syntax_errors(file: Bicep) -> None:
    assert file.syntax_errors == []


@pytest.mark.parametrize("file", FILES)
def test_every_parameter_has_a_description_and_is_used(file: Bicep) -> None:
    for name, parameter in file.of("parameter").items():
        [description] = parameter.decorators["description"]
        assert description.endswith("."), name
        assert name in file.references


@pytest.mark.parametrize("file", FILES)
def test_every_number_has_a_minimum(file: Bicep) -> None:
    numbers = [p for p in file.of("parameter").values() if text(p.node.named_children[1]) == "int"]
    assert numbers
    for parameter in numbers:
        [least] = parameter.decorators["minValue"]
        assert literal(parameter.value) >= least


def test_every_default_is_an_allowed_value() -> None:
    for name, parameter in PARAMETERS.items():
        if "allowed" in parameter.decorators:
            [allowed] = parameter.decorators["allowed"]
            assert literal(parameter.value) in allowed, name


@pytest.mark.parametrize("file", FILES)
def test_every_variable_is_used_and_every_reference_resolves(file: Bicep) -> None:
    declared = {name for kind in file.declarations for name in file.of(kind)}
    assert set(file.of("variable")) <= file.references
    assert declared | file.loop_variables >= file.references
    assert file.functions <= FUNCTIONS


def test_api_versions_are_the_expected_ones_and_no_previews() -> None:
    resources = {**RESOURCES, **POOL.of("resource")}
    named = dict(resource.type_and_version for resource in resources.values())
    assert named == VERSIONS
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", version) for version in named.values())


@pytest.mark.parametrize(
    ("resource", "client"), [("batch", BatchManagementClient), ("storage", StorageManagementClient)]
)
def test_the_sdk_uses_the_same_or_a_newer_version(resource: str, client: Any) -> None:
    sdk = client(DefaultAzureCredential(), "none")
    assert RESOURCES[resource].type_and_version[1] <= sdk._config.api_version  # noqa: SLF001  no public name


@pytest.mark.parametrize("name", MODELS)
def test_the_sdk_knows_every_property_and_value(name: str) -> None:
    model, models = MODELS[name]
    resource = (RESOURCES | POOL.of("resource"))[name]
    assert list(misfits(resource.body, model, models)) == []


def test_a_wrong_property_or_value_is_found(tmp_path: Path) -> None:
    path = tmp_path / "wrong.bicep"
    path.write_text(
        "resource batch 'Microsoft.Batch/batchAccounts@2025-06-01' = {\n  name: 'a'\n"
        "  properties: {\n    poolAllocationMod: 'BatchService'\n"
        "    allowedAuthenticationModes: true ? ['Keys'] : ['AAD']\n"
        "    publicNetworkAccess: true\n  }\n}\n"
    )
    model, models = MODELS["batch"]
    found = list(misfits(Bicep(path).of("resource")["batch"].body, model, models))
    assert [fault.partition(":")[0] for fault in found] == [
        "properties.poolAllocationMod",
        "properties.allowedAuthenticationModes[]",
        "properties.publicNetworkAccess",
    ]
    path.write_text("resource batch = {\n")
    assert Bicep(path).syntax_errors


def test_roles_are_the_documented_ones_with_the_narrowest_scopes() -> None:
    roles = {name: literal(v.value) for name, v in MAIN.of("variable").items() if name in ROLES}
    assert roles == ROLES
    runner, nodes = "principalId", "nodes!.properties.principalId"
    assert assignments() == {
        "runsBatch": (runner, "batchDataContributor", "batch"),
        "runsSignatures": (runner, "blobDelegator", "storage"),
        "runsWork": (runner, "blobDataContributor", "work[index]"),
        "runsMemory": (runner, "blobDataContributor", "memory"),
        "runsSources": (runner, "blobDataReader", "sources[index]"),
        "nodesInputs": (nodes, "blobDataReader", "work[0]"),
        "nodesSources": (nodes, "blobDataReader", "sources[index]"),
    }


def test_the_template_outputs_no_key() -> None:
    source = (FOLDER / "main.bicep").read_text()
    assert not re.search(r"\blist\w*\(|\.key\d?\b|secure\(", source)


def test_the_pipeline_accepts_the_settings_that_the_template_outputs() -> None:
    lines = [text(node).strip("'") for node in MAIN.of("output")["settings"].value.named_children]
    values = dict(line.split("=", 1) for line in lines)
    values = {name: re.sub(r"\$\{.+\}", "example", value) for name, value in values.items()}
    assert set(values) <= set(SETTINGS.values())
    assert check_environment(Environment.model_validate(values))


def test_containers_are_those_of_the_pipeline_and_only_inputs_and_logs_are_deleted() -> None:
    assert literal(PARAMETERS["inputContainer"].value) == Cleanup().container
    assert literal(PARAMETERS["outputContainer"].value) == Output().container
    memory = text(MAIN.of("variable")["memoryContainer"].value).strip("'")
    assert memory == memory_container("${inputContainer}")
    logs = text(MAIN.of("variable")["logContainer"].value).strip("'")
    assert logs == log_container("${inputContainer}")
    first = MAIN.of("variable")["workContainers"].value.named_children[0]
    assert text(first) == "inputContainer"  # the only one that nodes with an identity read
    prefixes = [
        text(entry.named_children[-1])
        for entry in walk(RESOURCES["lifecycle"].node)
        if entry.type == "object_property" and text(entry.named_children[0]) == "prefixMatch"
    ]
    assert prefixes == ["['${inputContainer}/', '${logContainer}/']"]


def test_inputs_are_kept_longer_than_the_longest_run() -> None:
    [longest] = [
        m.le for m in Limits.model_fields["deadline_minutes"].metadata if isinstance(m, Le)
    ]
    [least_days] = PARAMETERS["inputDays"].decorators["minValue"]
    assert least_days * 24 * 60 > longest


def test_the_example_sets_only_existing_parameters(tmp_path: Path) -> None:
    source = (FOLDER / "main.bicepparam").read_text()
    assert "using './main.bicep'" in source
    # The grammar does not know parameter files. There, a parameter with a value is like a variable.
    path = tmp_path / "example.bicep"
    path.write_text(re.sub(r"^param ", "var ", source, flags=re.MULTILINE).replace("using", "//"))
    example = Bicep(path)
    assert example.syntax_errors == []
    given = example.of("variable")
    assert set(given) <= set(PARAMETERS)
    required = {name for name, p in PARAMETERS.items() if p.value.type == "type"}
    assert required == {"principalId"} <= set(given)
    call = given["principalId"].value
    assert (called(call), arguments(call)) == ("readEnvironmentVariable", ["PRINCIPAL_ID"])


def pool_property(*path: str) -> Any:
    node = POOL.of("resource")["pool"].body
    for name in ("properties", *path):
        node = entries(node)[name]
    return node


def test_the_shared_pool_has_the_defaults_of_the_pipeline_and_a_slot_for_each_vcpu() -> None:
    defaults = {name: literal(p.value) for name, p in POOL.of("parameter").items()}
    assert defaults["vmSize"] == Pool().vm_size
    assert defaults["slotsPerNode"] == read_vcpus(defaults["vmSize"])  # it knows no files
    assert defaults["spotNodes"] == Pool().spot_nodes


def test_the_shared_pool_has_the_start_task_of_the_pipeline_from_the_same_file() -> None:
    expected = start_task(Node())
    call = POOL.of("variable")["installFfmpeg"].value
    found = re.fullmatch(r"replace\(trim\(loadTextContent\('(.+)'\)\), '\\n', ' '\)", text(call))
    assert found
    script = (FOLDER / found[1]).read_text().strip().replace("\n", " ")
    command = text(pool_property("startTask", "commandLine")).replace("${installFfmpeg}", script)
    assert command == "'" + expected.command_line.replace("'", r"\'") + "'"
    retries = literal(pool_property("startTask", "maxTaskRetryCount"))
    assert retries == expected.max_task_retry_count


def test_the_shared_pool_has_a_supported_image() -> None:
    machine = pool_property("deploymentConfiguration", "virtualMachineConfiguration")
    reference = {n: literal(v) for n, v in entries(entries(machine)["imageReference"]).items()}
    [image] = [i for i in SUPPORTED if i["imageReference"] == reference]
    assert image["nodeAgentSKUId"] == literal(entries(machine)["nodeAgentSkuId"])
    assert "batchSupportEndOfLife" not in image


def shared_formula(**changed: int) -> str:
    lines = POOL.of("variable")["formula"].value.named_children[1].named_children[0]
    values = {name: literal(p.value) for name, p in POOL.of("parameter").items()} | changed
    formula = "\n".join(text(line).strip("'") for line in lines.named_children)
    return re.sub(r"\$\{(\w+)\}", lambda found: str(values[found[1]]), formula)


@pytest.mark.parametrize("slots", [1, 2, 3, 7])
@pytest.mark.parametrize("dedicated", [0, 2, 50])
def test_every_file_gets_a_slot_in_the_shared_pool_although_batch_cuts_fractions(
    slots: int, dedicated: int
) -> None:
    formula = shared_formula(slotsPerNode=slots, dedicatedNodes=dedicated, spotNodes=100)
    for pending in range(2 * slots + 2):
        history, metrics = History(), {"$PendingTasks": pending}
        history.add(NOW - timedelta(minutes=5), metrics)
        found = evaluate(formula, Scene(now=NOW, present=metrics, history=history))
        assert (found.spot or 0) + (found.dedicated or 0) == -(-pending // slots)


def test_the_page_on_pools_shows_the_formula_of_the_shared_pool_as_it_is() -> None:
    page = (FOLDER.parents[1] / "docs" / "pools-and-cost.md").read_text()
    assert f"```text\n{shared_formula()}\n```" in page


def test_batch_can_evaluate_the_formula_of_the_shared_pool(batch: BatchClient) -> None:
    formula = shared_formula()
    name = f"formula-{uuid.uuid4().hex[:8]}"
    machine = m.VirtualMachineConfiguration(
        image_reference=m.BatchVmImageReference(
            publisher="canonical", offer="ubuntu-24_04-lts", sku="server"
        ),
        node_agent_sku_id="batch.node.ubuntu 24.04",
    )
    batch.create_pool(
        m.BatchPoolCreateOptions(
            id=name,
            vm_size="Standard_D2ds_v5",
            virtual_machine_configuration=machine,
            enable_auto_scale=True,
            auto_scale_formula=formula,
        )
    )
    run = batch.get_pool(name).auto_scale_run
    batch.begin_delete_pool(name)
    assert run is not None
    assert run.error is None
    assert "$TargetLowPriorityNodes=0" in str(run.results)
