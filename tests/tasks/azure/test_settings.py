from pathlib import Path

import pytest

from tasks.azure.settings import Environment, load_accounts
from tasks.errors import SettingsError

BATCH = {"AZURE_BATCH_ENDPOINT": "https://b.batch.azure.com"}
KEY = {"AZURE_BATCH_ACCOUNT": "b", "AZURE_BATCH_ACCESS_KEY": "canaryAA"}
CONNECTION = {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=s;AccountKey=canaryAA"}
STORAGE = {"AZURE_STORAGE_ACCOUNT": "s"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, which has no .env file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def given(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the test's settings into the environment."""
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "given",
    [BATCH | KEY | CONNECTION, BATCH | CONNECTION, BATCH | STORAGE, BATCH | KEY | STORAGE],
    indirect=True,
)
@pytest.mark.usefixtures("given")
def test_complete_accounts_are_not_missing_anything() -> None:
    assert load_accounts().missing == []


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (CONNECTION, "AZURE_BATCH_ENDPOINT"),
        (BATCH, "AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT"),
        (BATCH | CONNECTION | {"AZURE_BATCH_ACCESS_KEY": "canaryAA"}, "AZURE_BATCH_ACCOUNT"),
        (BATCH | {"AZURE_STORAGE_KEY": "canaryAA"}, "AZURE_STORAGE_ACCOUNT"),
        (BATCH | {"AZURE_STORAGE_SERVICE_ENDPOINT": "https://s"}, "AZURE_STORAGE_ACCOUNT"),
        (STORAGE, "AZURE_BATCH_ENDPOINT"),
    ],
    indirect=["given"],
)
@pytest.mark.usefixtures("given")
def test_missing_settings_are_named(missing: str) -> None:
    assert Environment().missing == [missing]
    with pytest.raises(SettingsError, match=f"incomplete\\. Missing: {missing}") as error:
        load_accounts()
    assert "canary" not in str(error.value)


def test_without_any_setting_the_error_says_what_to_set() -> None:
    with pytest.raises(SettingsError, match=r"No Azure account is configured\. Set AZURE_BATCH"):
        load_accounts()


@pytest.mark.parametrize("given", [dict.fromkeys(BATCH | KEY, "")], indirect=True)
@pytest.mark.usefixtures("given")
def test_an_empty_setting_counts_as_unset() -> None:
    assert Environment().is_unset


def test_settings_are_read_from_a_file_and_the_environment_comes_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("AZURE_BATCH_ENDPOINT=https://file\nAZURE_STORAGE_ACCOUNT=s\n")
    assert load_accounts().batch_endpoint == "https://file"
    monkeypatch.setenv("AZURE_BATCH_ENDPOINT", "https://environment")
    assert load_accounts().batch_endpoint == "https://environment"


@pytest.mark.parametrize("given", [BATCH | KEY | CONNECTION], indirect=True)
@pytest.mark.usefixtures("given")
def test_no_key_is_shown() -> None:
    accounts = load_accounts()
    assert "canary" not in f"{accounts!r} {accounts} {accounts.model_dump()}"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (BATCH | CONNECTION | {"AZURE_BATCH_ENDPOINT": "b.example"}, "begin with https://"),
        (BATCH | KEY | STORAGE | {"AZURE_BATCH_ACCESS_KEY": "canary"}, "AZURE_BATCH_ACCESS_KEY"),
        (BATCH | STORAGE | {"AZURE_STORAGE_KEY": "canary"}, "AZURE_STORAGE_KEY is not a key"),
        (BATCH | {"AZURE_STORAGE_CONNECTION_STRING": "canary"}, "must contain AccountName"),
        (
            BATCH | {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=s;AccountKey=canary"},
            "is not Base64",
        ),
        (
            BATCH
            | {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=s;SharedAccessSignature=canary"},
            "AccountKey instead of SharedAccessSignature",
        ),
    ],
    indirect=["given"],
)
@pytest.mark.usefixtures("given")
def test_a_malformed_setting_is_named_and_not_shown(fault: str) -> None:
    with pytest.raises(SettingsError, match=fault) as error:
        load_accounts()
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    "given",
    [BATCH | {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=s;BlobEndpoint=https://s.example"}],
    indirect=True,
)
@pytest.mark.usefixtures("given")
def test_a_connection_string_without_a_key_signs_in() -> None:
    assert load_accounts().malformed == []
