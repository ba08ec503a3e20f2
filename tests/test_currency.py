"""The project uses no retired images, packages, API versions or VM sizes.

Retired as of November 2026: Ubuntu before 22.04, API versions of Batch before 2025-06-01 and
clients before azure-batch 15. The VM sizes of the series A, D, DS and F before v3 retire in 2028.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential

from local_azure.batch import gate
from tasks.azure.images import choose_image
from tasks.parameters import Node, Pool

ROOT = Path(__file__).parents[1]
OURS = ("README.md", "docs", "pyproject.toml", "flows", "tasks", "deployments", "tests")
EXCEPTIONS = (  # files that name retired versions on purpose
    *(
        "batch/gate.py",
        "batch/clients/story_to_14.py",
        "batch/old_client.py",
        "batch/test_clients.py",
        "batch/test_old_client.py",
        "batch/test_shared_key.py",
        "support/environments.py",
    ),
    *("deployments/local/README.md", "local_azure/package-lock.json"),
    *("tests/test_currency.py", "tests/tasks/test_slots.py", "tests/flows/test_tutorial_faults.py"),
)
TEXTS = {".bicep", ".css", ".html", ".js", ".json", ".md", ".py", ".sh", ".toml", ".yaml"}
RETIRED = {
    "images": r"\b(1\d|20)[._](04|10)\b|UbuntuServer|CentOS",
    "packages": r"BatchServiceClient|batch_auth|azure-batch *[=~<>]=? *(\d|1[0-4])\b(?!\d)",
    "API versions": r"\b20(1\d|2[0-4])-\d\d-\d\d\.\d+\.\d",
    "VM sizes": r"(?i)standard_(a\d+|ds?\d+|f\d+)(_v2)?(?![\w])",
}


def files() -> Iterator[Path]:
    for name in OURS:
        for path in [ROOT / name, *(ROOT / name).rglob("*")]:
            is_own = not path.as_posix().endswith(EXCEPTIONS)
            if path.suffix in TEXTS and is_own and "node_modules" not in path.parts:
                yield path


@pytest.mark.parametrize("pattern", RETIRED.values(), ids=RETIRED.keys())
def test_no_file_uses_a_retired_version(pattern: str) -> None:
    found = {
        (path.name, match.group())
        for path in files()
        for match in re.finditer(pattern, path.read_text())
    }
    assert found == set()


def test_the_default_image_is_supported_for_a_year(batch: BatchClient) -> None:
    images = list(batch.list_supported_images())
    now = datetime.now(UTC)
    chosen = choose_image(images, Node().image, now=now, until=now + timedelta(days=365))
    assert chosen.verification_type == m.ImageVerificationType.VERIFIED
    assert chosen.os_type == m.OSType.LINUX


def test_the_local_service_supports_the_api_version_of_the_client() -> None:
    client = BatchClient("http://nowhere", AzureNamedKeyCredential("a", "a2V5"))
    spoken = client._config.api_version  # noqa: SLF001  it has no public name
    assert spoken == max(gate.API_VERSIONS)
    assert int(version("azure-batch").partition(".")[0]) >= 15


def test_the_default_vm_size_is_of_a_current_series() -> None:
    assert re.fullmatch(r"Standard_[A-Z]\d+\w*_v[5-9]", Pool().vm_size)


def test_the_client_knows_the_choices_of_the_parameters() -> None:
    for fill in ("spread", "pack"):
        assert m.BatchNodeFillType(fill) == Node(fill=fill).fill
    assert {kind.value for kind in m.IpAddressProvisioningType} >= {
        "batchmanaged",
        "nopublicipaddresses",
    }
