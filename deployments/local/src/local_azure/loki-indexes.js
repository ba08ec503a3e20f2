// Node.js loads this ahead of Azurite. What Azurite knows of blobs is in LokiJS, with an index for the account, the
// container, the name and the snapshot. All but the name are the same for most blobs, so that a search by them finds
// nearly all, and each deletion looks for its place among nearly all. Here blobs are indexed by name alone, and a
// search begins with it.
"use strict";

const { createRequire } = require("node:module");
const Loki = createRequire(process.argv[1])("lokijs");
const { Collection, Comparators, Resultset } = Loki;

// LokiJS takes names that are numbers as numbers; Azurite's listings, and Azure's, go by the text.
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
        collection.ensureAllIndexes(true); // one that was saved may be in another order
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

// To delete one blob sorts all of them anew: here it is taken out of the index.
const removeBatchByPositions = Collection.prototype.removeBatchByPositions;
Collection.prototype.removeBatchByPositions = function (positions) {
    if (positions.length === 1) this.remove(this.data[positions[0]]);
    else removeBatchByPositions.call(this, positions);
};
