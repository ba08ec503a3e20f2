// Node.js loads this ahead of Azurite, which every five seconds writes down all that it knows of all blobs, and
// answers nobody meanwhile: with 100,000 files that was most of its time. Here it waits, after each time, for as
// long as makes that a twentieth. When it is ended, it writes all of it as before.
"use strict";

const { createRequire } = require("node:module");
const Loki = createRequire(process.argv[1])("lokijs");

const PAUSES = 19; // for each second that a save took
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
