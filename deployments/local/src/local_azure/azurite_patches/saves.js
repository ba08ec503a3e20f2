// Why: every five seconds Azurite writes its whole database to disk, and answers no request meanwhile. With 100,000
// blobs each time takes 1.3 s of CPU or more.
// How: after a save, the next one waits until saves take a twentieth of the time. The save at the end is complete.
"use strict";

const { createRequire } = require("node:module");
const Loki = createRequire(process.argv[1])("lokijs");

const PAUSES = 19; // seconds of pause for each second of saving
const saveDatabaseInternal = Loki.prototype.saveDatabaseInternal;
Loki.prototype.saveDatabaseInternal = function (callback) {
    const startedAt = Date.now();
    this.ignoreAutosave = true;
    saveDatabaseInternal.call(this, (error) => {
        setTimeout(() => (this.ignoreAutosave = false), PAUSES * (Date.now() - startedAt)).unref();
        if (callback) callback(error);
        else if (error) throw error;
    });
};
