"""The tenant of Microsoft Entra ID that a stack over TLS has: who is in it, and their tokens."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

BATCH = "https://batch.core.windows.net/"
STORAGE = "https://storage.azure.com"
MANAGEMENT = "https://management.azure.com"
RESOURCES = (BATCH, STORAGE, MANAGEMENT)
"""The resources that the SDKs ask tokens for, by the names that the public cloud gives them."""
TOKEN_SECONDS = 3600
CLOCK_SKEW = timedelta(minutes=5)  # that who checks a token forgives
ALGORITHM = "RS256"


def known_id(name: str) -> str:
    """An id that is the same in each stack, so that whoever wrote it down need not change it."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.batch-convert.invalid"))


class Flaw(StrEnum):
    """What may be wrong with a token, or with the asking for one."""

    REFUSED = "refused"
    """There is none: the client's secret has expired."""
    EXPIRED = "expired"
    EARLY = "early"
    """It is not valid yet."""
    AUDIENCE = "audience"
    """It is for another resource."""
    ISSUER = "issuer"
    """Another tenant gave it out."""
    SIGNATURE = "signature"
    ROLE = "role"
    """It is as it should be, and who bears it has no role, neither on the Batch account nor on the
    subscription."""


class BadToken(Exception):  # noqa: N818 - it says what the token is
    """A token that is not to be believed; the message says why."""


@dataclass(frozen=True)
class Directory:
    """One tenant, with one application in it, and the managed identity of nodes."""

    secret: str = field(repr=False)
    tenant: str = known_id("tenant")
    client: str = known_id("client")
    subscription: str = known_id("subscription")
    node_client: str = known_id("nodes")
    node_identity: str = (
        f"/subscriptions/{known_id('subscription')}/resourceGroups/local/providers"
        "/Microsoft.ManagedIdentity/userAssignedIdentities/nodes"
    )
    key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
        repr=False,
    )

    @property
    def issuer(self) -> str:
        return issuer(self.tenant)

    @cached_property
    def public_key(self) -> rsa.RSAPublicKey:
        return self.key.public_key()

    @property
    def key_id(self) -> str:
        return known_id("key")

    def claims(self, resource: str, *, bearer: str, now: datetime) -> dict[str, Any]:
        """Of a token of version 1.0, which is what Batch and Storage take."""
        begins = int(now.timestamp())
        return {
            "aud": resource,
            "iss": self.issuer,
            "iat": begins,
            "nbf": begins,
            "exp": begins + TOKEN_SECONDS,
            "appid": bearer,
            "idp": self.issuer,
            "oid": bearer,
            "sub": bearer,
            "tid": self.tenant,
            "uti": uuid.uuid4().hex,
            "ver": "1.0",
        }

    def issue(self, resource: str, *, bearer: str, now: datetime, flaw: Flaw | None = None) -> str:
        """A token by which `bearer` may use `resource`, with a flaw where one is ordered."""
        claims = self.claims(resource, bearer=bearer, now=now) | flawed(flaw, now)
        key = self.key
        if flaw is Flaw.SIGNATURE:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": self.key_id})

    def check(self, token: str, *, resource: str, now: datetime) -> str:
        """Who bears the token.

        Raises:
            BadToken: It is not one that lets its bearer use `resource` now.
        """
        try:
            claims = jwt.decode(
                token,
                self.public_key,
                algorithms=[ALGORITHM],
                options={
                    "require": ["aud", "iss", "exp", "nbf", "oid"],
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidTokenError as error:
            raise BadToken(f"The token is not valid: {error}") from None
        check_claims(claims, resource=resource, issuer=self.issuer, now=now)
        return str(claims["oid"])

    def has_role(self, bearer: str) -> bool:
        """Whether the bearer may use the Batch account, and read the subscription."""
        return bearer == self.client


def issuer(tenant: str) -> str:
    return f"https://sts.windows.net/{tenant}/"


def flawed(flaw: Flaw | None, now: datetime) -> dict[str, Any]:
    """The claims in which a token differs from what it should be."""
    moment, nobody = int(now.timestamp()), known_id("nobody")
    match flaw:
        case Flaw.EXPIRED:
            return {"nbf": moment - 2 * TOKEN_SECONDS, "exp": moment - TOKEN_SECONDS}
        case Flaw.EARLY:
            return {"nbf": moment + TOKEN_SECONDS, "exp": moment + 2 * TOKEN_SECONDS}
        case Flaw.AUDIENCE:
            return {"aud": "https://graph.microsoft.com/"}
        case Flaw.ISSUER:
            return {"iss": issuer(nobody), "tid": nobody}
        case Flaw.ROLE:
            return {"oid": nobody, "sub": nobody}
    return {}


def check_claims(claims: dict[str, Any], *, resource: str, issuer: str, now: datetime) -> None:
    """Raises BadToken unless the claims are for the resource, from the issuer, and hold now."""
    if claims["aud"] != resource:
        raise BadToken(f"The token is for {claims['aud']!r}; it must be for {resource!r} exactly")
    if claims["iss"] != issuer:
        raise BadToken(f"The token was issued by {claims['iss']!r}; it must be by {issuer!r}")
    if now.timestamp() > claims["exp"] + CLOCK_SKEW.total_seconds():
        raise BadToken("The token has expired")
    if now.timestamp() < claims["nbf"] - CLOCK_SKEW.total_seconds():
        raise BadToken("The token is not valid yet")
