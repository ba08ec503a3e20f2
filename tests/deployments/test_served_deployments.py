"""`flows/serve.py` is restarted, as a container is, on a real Prefect server."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from workers import serving

YEARLY = {"cron": "0 0 1 1 *", "timezone": "UTC"}  # never while tests run
SERVED = {
    "description": "",
    "tags": [],
    "version": "1",
    "entrypoint": "flows/sweep.py:sweep",
    "parameters": {},
    "schedules": [YEARLY | {"slug": "paused-by-hand"}, YEARLY | {"slug": "untouched"}],
}
VERBOSE = {"PREFECT_LOGGING_LEVEL": "DEBUG"}
HALF_PAUSED = {"paused-by-hand": False, "untouched": True}


class Served:
    """A deployment that is served, and as the UI reads and changes it."""

    def __init__(self, api: str, folder: Path) -> None:
        self.name = f"served-{uuid.uuid4().hex}"
        self._api = api
        self._file = folder / "prefect.yaml"
        deployment = SERVED | {"name": self.name, "work_pool": {"name": self.name}}
        self._file.write_text(yaml.safe_dump({"name": "tests", "deployments": [deployment]}))

    @contextmanager
    def started(self) -> Iterator[str]:
        """Serve the deployment until the block ends. Yield what the process printed first."""
        with serving(pool=self.name, prefect_file=self._file, environment=VERBOSE) as process:
            yield process.first_lines
            process.read_until("scheduled flow runs")  # earlier, SIGTERM stops no runner

    def read(self) -> dict[str, Any]:
        answer = httpx.get(f"{self._api}/deployments/name/sweep/{self.name}")
        return dict(answer.raise_for_status().json())

    def schedules(self) -> dict[str | None, dict[str, Any]]:
        return {each["slug"]: each for each in self.read()["schedules"]}

    def active_schedules(self) -> dict[str | None, bool]:
        return {slug: each["active"] for slug, each in self.schedules().items()}

    def _change(self, method: str, path: str, change: Any = None) -> None:
        url = f"{self._api}/deployments/{self.read()['id']}/{path}"
        httpx.request(method, url, json=change).raise_for_status()

    def add_schedule(self, slug: str | None) -> None:
        schedule = {"schedule": YEARLY, "slug": slug, "parameters": {"dry_run": True}}
        self._change("POST", "schedules", [schedule])

    def pause_schedule(self, slug: str) -> None:
        self._change("PATCH", f"schedules/{self.schedules()[slug]['id']}", {"active": False})

    def pause(self) -> None:
        self._change("POST", "pause_deployment")


@pytest.fixture
def served(prefect_server: str, tmp_path: Path) -> Served:
    """Return a deployment that was served and stopped, and in which a schedule was then paused."""
    served = Served(prefect_server, tmp_path)
    with served.started():
        assert served.active_schedules() == {"paused-by-hand": True, "untouched": True}
    assert not served.read()["paused"]
    served.pause_schedule("paused-by-hand")
    return served


def test_a_restart_resumes_neither_a_paused_schedule_nor_a_paused_deployment_and_says_so(
    served: Served,
) -> None:
    served.pause()
    with served.started() as printed:
        assert f"sweep/{served.name} is paused" in printed
    assert served.read()["paused"]
    assert served.active_schedules() == HALF_PAUSED


def test_a_restart_keeps_schedules_made_by_hand(served: Served) -> None:
    served.add_schedule("by-hand")
    served.add_schedule(None)  # the UI asks for no slug
    before = served.schedules()
    with served.started():
        after = served.schedules()
    assert served.active_schedules() == HALF_PAUSED | {"by-hand": True, None: True}
    for slug in ("by-hand", None):
        assert after[slug]["schedule"] == before[slug]["schedule"]
        assert after[slug]["parameters"] == {"dry_run": True}
