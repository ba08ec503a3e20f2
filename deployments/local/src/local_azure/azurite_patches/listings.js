// Requires indexes.js.
// Why: for each page of a listing, Azurite searches all blobs, and sorts what it finds twice. With 100,000 blobs in
// pages of 500, that is 65 ms of CPU per page; with this patch 2 ms.
// How: read the blobs in the order of their names, from the end of the last page, and only as far as the page needs.
"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const { createRequire } = require("node:module");
const azurite = createRequire(process.argv[1]);
const { Resultset } = azurite("lokijs");
const { default: Store } = azurite("azurite/dist/src/blob/persistence/LokiBlobMetadataStore.js");

const STEP = 100; // blobs read at a time, at least
const pages = new AsyncLocalStorage();
const listBlobs = Store.prototype.listBlobs;
Store.prototype.listBlobs = function (...given) {
    const [, , , delimiter, , , blobs = Infinity, marker = "", , , startFrom] = given;
    // Azurite reads one page, then another to learn whether there is a next one. With a delimiter, names in the same
    // folder are one entry, so that a page can need any number of blobs.
    const enough = delimiter === undefined && startFrom === undefined ? 2 * blobs : Infinity;
    return pages.run({ marker, enough }, () => listBlobs.apply(this, given));
};

const isListed = ({ snapshot, isCommitted }) => snapshot === "" && isCommitted; // in every listing
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
