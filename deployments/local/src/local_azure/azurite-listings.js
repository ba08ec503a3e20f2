// Node.js loads this ahead of Azurite, after loki-indexes.js. For each page of a listing Azurite searches all blobs,
// and sorts what it finds, twice. Here it goes through them in the order of their names, from where the last page
// ended, and no further than this page needs.
"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const { createRequire } = require("node:module");
const azurite = createRequire(process.argv[1]);
const { Resultset } = azurite("lokijs");
const { default: Store } = azurite("azurite/dist/src/blob/persistence/LokiBlobMetadataStore.js");

const STEP = 100; // blobs looked at in one go, at least
const pages = new AsyncLocalStorage();
const listBlobs = Store.prototype.listBlobs;
Store.prototype.listBlobs = function (...given) {
    const [, , , delimiter, , , blobs = Infinity, marker = "", , , startFrom] = given;
    // It reads a page, and then the next, to see whether there is one. Where names that share a folder are one
    // entry, a page may need any number of blobs.
    const enough = delimiter === undefined && startFrom === undefined ? 2 * blobs : Infinity;
    return pages.run({ marker, enough }, () => listBlobs.apply(this, given));
};

const isListed = ({ snapshot, isCommitted }) => snapshot === "" && isCommitted; // by every listing
const findAnd = Resultset.prototype.findAnd;
Resultset.prototype.findAnd = Resultset.prototype.$and = function (expressions) {
    const page = pages.getStore();
    if (!page || this.filterInitialized) return findAnd.call(this, expressions);
    const { data, binaryIndices } = this.collection;
    const { values } = binaryIndices.name;
    const found = [];
    let start = firstAfter(page.marker, values, data);
    let listed = 0;
    this.filterInitialized = true;
    const step = Math.max(page.enough, STEP);
    for (; start < values.length && listed < page.enough; start += step) {
        this.filteredrows = values.slice(start, start + step);
        findAnd.call(this, expressions);
        for (const row of this.filteredrows) found.push(row);
        listed += this.filteredrows.filter((row) => isListed(data[row])).length;
    }
    this.filteredrows = found;
    return this;
};

function firstAfter(marker, rows, data) {
    let [low, high] = [0, rows.length];
    while (low < high) {
        const middle = (low + high) >> 1;
        if (data[rows[middle]].name > marker) high = middle;
        else low = middle + 1;
    }
    return low;
}
