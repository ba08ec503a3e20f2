"""The tenant of Microsoft Entra ID in a stack with TLS: its identities and their tokens."""

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
RESOURCES = frozenset(name.rstrip("/") for name in (BATCH, STORAGE, MANAGEMENT))
"""The resources that the SDKs request tokens for, by their names in the public cloud.

As in Entra ID, a request names them with or without a slash at the end, and so does its token.
Batch requires the slash: microsoft-authentication-library-for-js #1735.
"""
ALIASES = {MANAGEMENT: (f"{MANAGEMENT}/",)}  # Resource Manager accepts both
TOKEN_SECONDS = 3600
BRIEF_TOKEN_SECONDS = 600
CLOCK_SKEW = timedelta(minutes=5)  # tolerated when a token is checked
ALGORITHM = "RS256"
JWT_DOTS = 2


def known_id(name: str) -> str:
    """Return an id that is the same in every stack, so that saved settings stay valid."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.batch-convert.invalid"))


class Flaw(StrEnum):
    """What is wrong with a token, or with the request for one."""

    REFUSED = "refused"
    """No token is issued: the client's secret has expired."""
    UNAVAILABLE = "unavailable"
    """No token is issued for now: the request can be repeated.

    https://learn.microsoft.com/entra/identity-platform/reference-error-codes
    """
    BRIEF = "brief"
    """The token is valid for ten minutes, the least that a policy of a tenant can set.

    https://learn.microsoft.com/entra/identity-platform/configurable-token-lifetimes
    """
    EXPIRED = "expired"
    EARLY = "early"
    """The token is not valid yet."""
    AUDIENCE = "audience"
    """The token is for another resource."""
    ISSUER = "issuer"
    """Another tenant issued the token."""
    SIGNATURE = "signature"
    ROLE = "role"
    """The token is valid, but its bearer has no role on the Batch account or the subscription."""


class BadToken(Exception):  # noqa: N818  names what the token is
    """A token that is not valid; the message says why."""


@dataclass(frozen=True)
class Directory:
    """One tenant with one application and the managed identity of nodes."""

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
        """Return the claims of a token of version 1.0, which Batch and Storage accept."""
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
        """Return a token with which `bearer` can use `resource`, or one with a flaw."""
        claims = self.claims(resource, bearer=bearer, now=now) | flawed(flaw, now)
        key = self.key
        if flaw is Flaw.SIGNATURE:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": self.key_id})

    def check(self, token: str, *, resource: str, now: datetime) -> str:
        """Return the bearer of a token that is valid for `resource` now.

        Raises:
            BadToken: The token is not valid.
        """
        if token.count(".") != JWT_DOTS:
            raise BadToken("The token is not a JSON Web Token: it must have three parts with dots")
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
        """Return whether the bearer can use the Batch account and read the subscription."""
        return bearer == self.client


def token_of(authorization: str | None) -> str:
    """Return the token in the Authorization header of a request.

    Raises:
        BadToken: The header is missing, or has another scheme.
    """
    if not authorization:
        raise BadToken("The request has no Authorization header; it must be 'Bearer <token>'")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        found = f"The Authorization header has the scheme {scheme[:40]!r}"
        raise BadToken(f"{found}; it must be 'Bearer <token>'")
    return token.strip()


def issuer(tenant: str) -> str:
    return f"https://sts.windows.net/{tenant}/"


def flawed(flaw: Flaw | None, now: datetime) -> dict[str, Any]:
    """Return the claims that the flaw changes."""
    moment, stranger = int(now.timestamp()), known_id("stranger")
    changes: dict[Flaw | None, dict[str, Any]] = {
        Flaw.BRIEF: {"exp": moment + BRIEF_TOKEN_SECONDS},
        Flaw.EXPIRED: {"nbf": moment - 2 * TOKEN_SECONDS, "exp": moment - TOKEN_SECONDS},
        Flaw.EARLY: {"nbf": moment + TOKEN_SECONDS, "exp": moment + 2 * TOKEN_SECONDS},
        Flaw.AUDIENCE: {"aud": "https://graph.microsoft.com/"},
        Flaw.ISSUER: {"iss": issuer(stranger), "tid": stranger},
        Flaw.ROLE: {"oid": stranger, "sub": stranger},
    }
    return changes.get(flaw, {})


def check_claims(claims: dict[str, Any], *, resource: str, issuer: str, now: datetime) -> None:
    """Check resource, issuer and times.

    Raises:
        BadToken: A claim is wrong.
    """
    if claims["aud"] not in (resource, *ALIASES.get(resource, ())):
        raise BadToken(f"The token is for {claims['aud']!r}; it must be for exactly {resource!r}")
    if claims["iss"] != issuer:
        raise BadToken(f"The token was issued by {claims['iss']!r}; the issuer must be {issuer!r}")
    if now.timestamp() > claims["exp"] + CLOCK_SKEW.total_seconds():
        raise BadToken("The token has expired")
    if now.timestamp() < claims["nbf"] - CLOCK_SKEW.total_seconds():
        raise BadToken("The token is not valid yet")
