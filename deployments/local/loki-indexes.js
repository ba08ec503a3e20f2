// Node.js loads this ahead of Azurite. What Azurite knows of blobs is in LokiJS, which looks at each blob of
// the account to find one by its account, container and name, and sorts all of them anew, by each of its four
// indexes, to delete one. Here it looks up the name first, and takes what is deleted out of the indexes.
"use strict";

const { createRequire } = require("node:module");
const { Collection, Resultset } = createRequire(process.argv[1])("lokijs");

const isByName = (expression) => typeof (expression.name ?? expression.blobName) === "string";
const findAnd = Resultset.prototype.findAnd;
Resultset.prototype.findAnd = Resultset.prototype.$and = function (expressions) {
    const others = expressions.filter((expression) => !isByName(expression));
    return findAnd.call(this, [...expressions.filter(isByName), ...others]);
};

const removeBatchByPositions = Collection.prototype.removeBatchByPositions;
Collection.prototype.removeBatchByPositions = function (positions) {
    if (positions.length === 1) this.remove(this.data[positions[0]]);
    else removeBatchByPositions.call(this, positions);
};
