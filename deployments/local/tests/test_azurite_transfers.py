"""The patch of transfers, in a program that copies files as Azurite does."""

from pathlib import Path

from local_azure.azurite import TRANSFERS
from lokis import run, written

FILE_BYTES = 8 << 20
WORK = """
const { createReadStream, createWriteStream, readFileSync, writeFileSync } = require("node:fs");
const { PerformanceObserver, constants } = require("node:perf_hooks");
let steps = 0;
const isStep = (entry) => entry.detail.kind === constants.NODE_PERFORMANCE_GC_INCREMENTAL;
new PerformanceObserver((list) => {
    steps += list.getEntries().filter(isStep).length;
}).observe({ entryTypes: ["gc"] });
writeFileSync("from", Buffer.alloc(FILE_BYTES, "0123456789"));
const pass = (options) => new Promise((done) => {
    let pieces = 0;
    const to = createWriteStream("to");
    createReadStream("from", options).on("data", () => (pieces += 1)).pipe(to);
    to.on("close", () => done(pieces));
});
(async () => {
    let pieces = 0;
    for (let n = 0; n < 3; n++) pieces = await pass();
    const same = readFileSync("from").equals(readFileSync("to"));
    const part = await pass({ start: 7, end: 11 });
    const kept = readFileSync("to", "latin1");
    const text = await new Promise((done) => createReadStream("to", "latin1").on("data", done));
    const known = [];
    for (let n = 0; n < 2e6; n++) known.push({ n });  // grows, which begins a mark by steps
    await new Promise((done) => setTimeout(done, 50));
    console.log(JSON.stringify({ pieces, same, part, kept, text, steps, count: known.length }));
})();
""".replace("FILE_BYTES", str(FILE_BYTES))


def test_files_are_read_in_larger_pieces_and_marking_is_not_incremental(
    tmp_path: Path,
) -> None:
    program = written(tmp_path, WORK)
    before, now = (run(*patch, program, cwd=tmp_path) for patch in ((), ("--require", TRANSFERS)))
    assert (before["pieces"], now["pieces"]) == (FILE_BYTES >> 16, FILE_BYTES >> 20)
    assert now["steps"] == 0 < before["steps"]
    for result in (before, now):
        assert result["same"]
        assert (result["part"], result["kept"], result["text"]) == (1, "78901", "78901")
