"""Where a Prefect server may be named: seen without Prefect, so that our own can start first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

URL = "http://127.0.0.1:9/api"
ASK = """
from flows.surroundings import has_prefect_api, may_have_prefect_api
print(may_have_prefect_api(), has_prefect_api())
"""


def looks(folder: Path, **environment: str) -> str:
    """What the look says, and what Prefect says, in a process that starts in the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    home = {"PREFECT_HOME": str(folder / "home")}
    asked = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=folder,
        env=kept | home | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return asked.stdout.strip()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("home/profiles.toml", f'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{URL}"\n'),
        ("prefect.toml", f'api.url = "{URL}"\n'),
        ("pyproject.toml", f'[tool.prefect.api]\nurl = "{URL}"\n'),
        (".env", f"PREFECT_API_URL={URL}\n"),
    ],
)
def test_a_server_that_a_file_names_is_seen(tmp_path: Path, place: str, words: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_text(words)
    assert looks(tmp_path) == "True True"


def test_a_server_that_the_environment_names_is_seen(tmp_path: Path) -> None:
    assert looks(tmp_path, PREFECT_API_URL=URL) == "True True"


def test_where_nothing_names_a_server_none_is_suspected(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["prefect"]\n')
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "profiles.toml").write_text('active = "a"\n[profiles.a]\n')
    assert looks(tmp_path) == "False False"
