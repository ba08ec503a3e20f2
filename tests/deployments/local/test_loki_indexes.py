"""Azurite's store of what it knows of blobs, with our mends of it and without."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deployments.local.azurite import LOKI_INDEXES, installed
from deployments.local.nodejs import find_nodejs

BLOBS = 200
WORK = """
const Loki = require("lokijs");
const indices = ["accountName", "containerName", "name", "snapshot"];
const blobs = new Loki("blobs").addCollection("blobs", { indices });
let looks = 0, rebuilds = 0;
const watched = (name) => Object.defineProperty({ accountName: "a", snapshot: "", name },
    "containerName", { enumerable: true, get() { looks += 1; return "c"; } });
for (let n = 0; n < BLOBS; n++) blobs.insert(watched(`b${(n * 7) % BLOBS}`));
const rebuild = blobs.ensureAllIndexes.bind(blobs);
blobs.ensureAllIndexes = (...given) => { rebuilds += 1; return rebuild(...given); };
const query = (name) => ({ accountName: "a", containerName: "c", name });
looks = 0;
const found = blobs.findOne(query("b5")).name, looked = looks;
for (let n = 0; n < BLOBS; n += 3) blobs.findAndRemove(query(`b${n}`));
blobs.insert(watched("new"));
const left = blobs.chain().find({ accountName: "a" }).data().map((blob) => blob.name).sort();
const missing = left.filter((name) => blobs.findOne(query(name)).name !== name);
const gone = blobs.findOne(query("b3"));
blobs.findAndRemove({ accountName: "a", containerName: "c" });
console.log(JSON.stringify({ found, looked, rebuilds, left, missing, gone, end: blobs.count() }));
""".replace("BLOBS", str(BLOBS))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that works on the store as Azurite does."""
    packages = next(p for p in installed(find_nodejs()).parents if p.name == "node_modules")
    (tmp_path / "node_modules").symlink_to(packages)
    program = tmp_path / "work.js"
    program.write_text(WORK)
    return program


def run(*words: str | Path) -> dict[str, Any]:
    command = [find_nodejs().node, *words]
    told: dict[str, Any] = json.loads(
        subprocess.run(command, capture_output=True, check=True).stdout
    )
    return told


def test_blobs_are_found_and_deleted_as_before_without_a_look_at_the_others(program: Path) -> None:
    before, now = run(program), run("--require", LOKI_INDEXES, program)
    assert now["looked"] < 3 < BLOBS <= before["looked"]
    assert now["rebuilds"] == 1 < before["rebuilds"]  # for the last: all of a container at once
    assert before["missing"] == now["missing"] == []
    assert {**before, "looked": 0, "rebuilds": 0} == {**now, "looked": 0, "rebuilds": 0}
    assert now["gone"] is None
    assert now["end"] == 0
