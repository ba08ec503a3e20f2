// Why: Azurite checks tokens of Microsoft Entra ID, but no roles. Azure refuses an identity whose role has not taken
// effect yet, and its SAS tokens: https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
// How: while the Batch service keeps a file, refuse what an identity sends or has signed.
"use strict";

const { existsSync } = require("node:fs");
const { createRequire } = require("node:module");
const azurite = createRequire(process.argv[1]);
const { default: errors } = azurite("azurite/dist/src/blob/errors/StorageErrorFactory.js");
const { default: Token } = azurite("azurite/dist/src/blob/authentication/BlobTokenAuthenticator.js");
const { default: Sas } = azurite("azurite/dist/src/blob/authentication/BlobSASAuthenticator.js");

const file = process.env.LOCAL_AZURE_MISSING_ROLES;
const refuse = ({ prototype }, isOfIdentity) => {
    const { validate } = prototype;
    prototype.validate = async function (request, context) {
        const isValid = await validate.call(this, request, context);
        if (isValid && isOfIdentity(request) && existsSync(file))
            throw errors.getAuthorizationPermissionMismatch(context.contextId);
        return isValid;
    };
};
refuse(Token, () => true);
refuse(Sas, (request) => request.getQuery("skoid") !== undefined);
