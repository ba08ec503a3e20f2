"""Azurite's listings, with the patch and without."""

from pathlib import Path

from local_azure.azurite import INDEXES, LISTINGS
from lokis import run, written

BLOBS = 400
WORK = """
const { default: Store } = require("azurite/dist/src/blob/persistence/LokiBlobMetadataStore.js");
const product = (lists) => lists.reduce(
    (made, list) => made.flatMap((one) => list.map((other) => [...one, other])), [[]]);
let looks = 0;
const watched = (blob) => ({ ...blob, get accountName() { looks += 1; return "a"; } });
async function main() {
    const store = new Store("blobs", true);
    await store.init();
    const blobs = store.db.getCollection(store.BLOBS_COLLECTION);
    for (let n = 0; n < COUNT; n++) {
        const m = (n * 7919) % COUNT;
        blobs.insert(watched({
            name: ["", "f/", "f/g/", "é/"][m % 4] + m, containerName: m % 3 ? "c" : "d",
            snapshot: m % 5 ? "" : "2026", isCommitted: m % 7 > 0, properties: {},
        }));
    }
    const list = async (container, delimiter, prefix, most, ...which) => {
        const listed = [];
        let marker = "";
        do {
            const [found, folders, next] = await store.listBlobs(
                { startTime: new Date() }, "a", container, delimiter, undefined, prefix, most,
                marker, ...which);
            listed.push([found.map((blob) => blob.name), folders.map((each) => each.name), next]);
            marker = next;
        } while (marker);
        return listed;
    };
    looks = 0;
    await list("c", undefined, "", 10);
    const looked = looks;
    const listings = [];
    for (const asked of product([["c", "d", "e"], [undefined, "/"], ["", "f/", "f/g", "x"],
            [1, 2, 10, 5000, undefined], [false, true], [false, true], [undefined, "f/1"]]))
        listings.push([asked, await list(...asked)]);
    process.stdout.write(JSON.stringify({ looked, listings }), () => process.exit());
}
main();
""".replace("COUNT", str(BLOBS))


def test_pages_are_the_same_without_a_search_of_all_blobs_for_each(tmp_path: Path) -> None:
    program = written(tmp_path, WORK)
    patched = run("--require", INDEXES, "--require", LISTINGS, program)
    before = run(program)
    assert patched["listings"] == before["listings"]
    assert any(len(pages) > 10 for _, pages in patched["listings"])
    assert patched["looked"] < before["looked"] / 3
