// Node.js loads this ahead of Azurite, for what bytes cost it: half of that was its 16 and 64 KiB pieces of files, and
// its garbage collector, which at every 64 MiB of buffers began to look at all that is known, to find that they are
// still young. Without marking by steps it throws the young ones away, and looks at all when there is more to gain.
"use strict";

const fs = require("node:fs");
const v8 = require("node:v8");

const PIECE_BYTES = 1 << 20;
for (const open of ["createReadStream", "createWriteStream"]) {
    const plain = fs[open];
    fs[open] = (path, options) =>
        plain(path, typeof options === "string" ? options : { highWaterMark: PIECE_BYTES, ...options });
}
v8.setFlagsFromString("--no-incremental-marking");
