// Why: Azurite keeps its blobs in LokiJS, with indexes on account, container, name and snapshot. All but the name are
// the same for most blobs, so that a search through these indexes reads nearly all blobs, and each deletion sorts all
// blobs again. With 3,000 blobs, deleting 750 of them takes 4.6 s of Azurite's CPU; with this patch 0.7 s.
// How: blobs are indexed by name only, and each search starts with the name.
"use strict";

const { createRequire } = require("node:module");
const Loki = createRequire(process.argv[1])("lokijs");
const { Collection, Comparators, Resultset } = Loki;

// LokiJS compares names of digits as numbers. Listings of Azurite and Azure sort names as text.
const asText = (compare, lokis) => (one, other, isEnough) =>
    typeof one === "string" && typeof other === "string"
        ? compare(one, other) || (isEnough === true && one === other)
        : lokis(one, other, isEnough);
Comparators.lt = asText((one, other) => one < other, Comparators.lt);
Comparators.gt = asText((one, other) => one > other, Comparators.gt);
Comparators.aeq = asText((one, other) => one === other, Comparators.aeq);

const SAME_FOR_MOST = ["accountName", "containerName", "snapshot"];
const indexed = new WeakSet();
const getCollection = Loki.prototype.getCollection;
Loki.prototype.getCollection = function (name) {
    const collection = getCollection.call(this, name);
    if (collection && !indexed.has(collection)) {
        for (const field of SAME_FOR_MOST) delete collection.binaryIndices[field];
        collection.ensureAllIndexes(true); // a saved index may have another order
        indexed.add(collection);
    }
    return collection;
};

const isByName = (expression) => typeof (expression.name ?? expression.blobName) === "string";
const findAnd = Resultset.prototype.findAnd;
Resultset.prototype.findAnd = Resultset.prototype.$and = function (expressions) {
    const others = expressions.filter((expression) => !isByName(expression));
    return findAnd.call(this, [...expressions.filter(isByName), ...others]);
};

// LokiJS rebuilds all indexes to delete one blob by a search. Remove the blob from its index instead.
const removeBatchByPositions = Collection.prototype.removeBatchByPositions;
Collection.prototype.removeBatchByPositions = function (positions) {
    if (positions.length === 1) this.remove(this.data[positions[0]]);
    else removeBatchByPositions.call(this, positions);
};
