"""Accounts from a block of a real Prefect server."""

import asyncio
import re
import subprocess
import sys
from typing import Any

import httpx
import pytest

from tasks.azure.account_block import AzureAccounts, named_accounts
from tasks.azure.settings import SETTINGS, Accounts, load_accounts, using_accounts
from tasks.concurrency import map_in_threads
from tasks.errors import SettingsError

pytestmark = pytest.mark.usefixtures("prefect_server")
WHOLE = {
    "batch_endpoint": "https://b.batch.azure.com",
    "batch_account": "b",
    "batch_key": "canaryAA",
    "storage_connection_string": "AccountName=s;AccountKey=canaryAA",
}


async def saved(name: str, **fields: Any) -> str:
    await AzureAccounts(**fields).save(name, overwrite=True)
    return name


async def test_a_block_has_the_fields_of_the_settings_with_descriptions() -> None:
    fields = AzureAccounts.model_json_schema()["properties"]
    assert set(fields) == set(SETTINGS)
    assert all(len(field["description"]) > 20 for field in fields.values())
    assert {name for name, field in fields.items() if field.get("format") == "password"} == {
        "batch_key",
        "storage_connection_string",
        "storage_key",
    }


async def test_a_named_block_takes_precedence_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_BATCH_ENDPOINT", "https://environment")
    accounts = await named_accounts(await saved("whole", **WHOLE))
    assert accounts.batch_endpoint == WHOLE["batch_endpoint"]
    assert accounts.batch_key.get_secret_value() == WHOLE["batch_key"]


async def test_without_a_name_the_accounts_of_the_environment_are_used(
    account: dict[str, str],
) -> None:
    accounts = await named_accounts("")
    assert accounts.batch_endpoint == account["AZURE_BATCH_ENDPOINT"]


async def test_the_error_about_a_missing_block_says_how_to_create_it() -> None:
    with pytest.raises(
        SettingsError, match=r"named 'absent'\. Register .* -m tasks\.azure\.account_block"
    ):
        await named_accounts("absent")


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        (
            {},
            "Missing: Batch Endpoint and Storage Connection String or Storage Account.",
        ),
        (WHOLE | {"batch_account": ""}, "is incomplete. Missing: Batch Account."),
        (WHOLE | {"batch_key": "canary"}, "Batch Key is not a key: it must be Base64"),
        (WHOLE | {"batch_endpoint": "b.example"}, "Batch Endpoint must begin with https://"),
    ],
)
async def test_the_error_about_a_faulty_block_names_the_fields_of_its_form(
    fields: dict[str, str], fault: str
) -> None:
    name = await saved("faulty", **fields)
    with pytest.raises(SettingsError, match=re.escape(fault)) as error:
        await named_accounts(name)
    assert "'faulty'" in str(error.value)
    assert "canary" not in str(error.value)


async def test_chosen_accounts_are_used_in_tasks_and_threads_of_the_block_only(
    account: dict[str, str],
) -> None:
    chosen = Accounts(batch_endpoint="https://chosen")

    async def seen() -> str:
        return load_accounts().batch_endpoint

    with using_accounts(chosen):
        assert await asyncio.create_task(seen()) == "https://chosen"
        assert await map_in_threads(lambda *_: load_accounts().batch_endpoint, [0]) == [
            "https://chosen"
        ]
    assert await seen() == account["AZURE_BATCH_ENDPOINT"]


async def test_prefect_does_not_show_the_keys_of_a_block(prefect_server: str) -> None:
    await saved("shown", **WHOLE)
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(f"{prefect_server}/block_documents/filter", json={})
    assert "shown" in answer.text
    assert "canary" not in answer.text


def test_the_block_type_can_be_registered(prefect_server: str) -> None:
    command = [
        sys.executable,
        "-m",
        "prefect",
        "block",
        "register",
        "-m",
        "tasks.azure.account_block",
    ]
    registered = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "Azure accounts" in registered.stdout
    types = httpx.post(f"{prefect_server}/block_types/filter", json={}, timeout=60).json()
    assert "azure-accounts" in {each["slug"] for each in types}
