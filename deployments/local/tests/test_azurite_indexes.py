"""Azurite's database, with the patch of its indexes and without."""

from pathlib import Path

from local_azure.azurite import INDEXES
from lokis import run, written

BLOBS = 200
WORK = """
const Loki = require("lokijs");
const indices = ["accountName", "containerName", "name", "snapshot"];
const store = new Loki("blobs");
store.addCollection("blobs", { indices });
const blobs = store.getCollection("blobs");
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
for (const number of ["10", "9", "09", "1e1"]) blobs.insert(watched(number));
const numbers = ["10", "9", "09", "1e1", "9.0"].map((name) => blobs.findOne(query(name))?.name);
const inOrder = blobs.chain().simplesort("name").data().map((blob) => blob.name);
const gone = blobs.findOne(query("b3"));
blobs.findAndRemove({ accountName: "a", containerName: "c" });
console.log(JSON.stringify({
    found, looked, rebuilds, left, missing, numbers, inOrder, gone,
    indexes: Object.keys(blobs.binaryIndices), end: blobs.count(),
}));
""".replace("BLOBS", str(BLOBS))


CHANGED = {"looked", "rebuilds", "inOrder", "indexes"}


def test_blobs_are_found_and_deleted_without_reading_the_others(tmp_path: Path) -> None:
    program = written(tmp_path, WORK)
    before, now = run(program), run("--require", INDEXES, program)
    assert now["looked"] < 3 < BLOBS <= before["looked"]
    assert (
        now["rebuilds"] == 1 < before["rebuilds"]
    )  # for the last removal: all blobs of a container
    assert now["indexes"] == ["name"]
    assert now["inOrder"] == sorted(now["inOrder"]) != before["inOrder"]
    assert {k: v for k, v in before.items() if k not in CHANGED} == {
        k: v for k, v in now.items() if k not in CHANGED
    }
    assert before["missing"] == []
    assert now["numbers"] == ["10", "9", "09", "1e1", None]
    assert now["gone"] is None
    assert now["end"] == 0
