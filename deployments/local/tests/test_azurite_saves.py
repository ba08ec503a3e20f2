"""The intervals between saves of Azurite's database, by a clock that the program moves."""

from pathlib import Path

from local_azure.azurite import SAVES
from lokis import run, written

WORK = """
const Loki = require("lokijs");
let now = 0, timers = [];
Date.now = () => now;
const start = (run, ms, every) => {
    timers.push({ run, at: now + ms, every });
    return { unref() {} };
};
global.setTimeout = (run, ms) => start(run, ms, 0);
global.setInterval = (run, ms) => start(run, ms, ms);
const pass = (until) => {
    for (let next; (next = timers.sort((a, b) => a.at - b.at)[0]).at <= until; ) {
        now = Math.max(now, next.at);
        if (next.every) next.at += next.every; else timers.shift();
        next.run();
    }
    now = until;
};
let saves = 0, kept = 0;
const adapter = { saveDatabase(_, text, done) {
    saves += 1; now += 1000; kept = JSON.parse(text).collections[0].data.length; done(null);
} };
const db = new Loki("db", { adapter, autosave: true, autosaveInterval: 5000 });
const blobs = db.addCollection("blobs");
for (let second = 1; second <= 100; second++) { blobs.insert({ second }); pass(second * 1000); }
const often = saves;
db.close();
console.log(JSON.stringify({ often, kept }));
"""


def test_saves_take_a_twentieth_of_the_time_and_the_last_one_is_complete(tmp_path: Path) -> None:
    program = written(tmp_path, WORK)
    assert run(program) == {"often": 20, "kept": 100}
    assert run("--require", SAVES, program) == {"often": 4, "kept": 100}
