"""Tokens: their content, and which of them are valid."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from local_azure.directory import (
    BATCH,
    CLOCK_SKEW,
    STORAGE,
    TOKEN_SECONDS,
    BadToken,
    Directory,
    Flaw,
    token_of,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DIRECTORY = Directory(secret="canary")


def issue(flaw: Flaw | None = None) -> str:
    return DIRECTORY.issue(BATCH, bearer=DIRECTORY.client, now=NOW, flaw=flaw)


def check(token: str, *, now: datetime = NOW) -> str:
    return DIRECTORY.check(token, resource=BATCH, now=now)


def test_a_token_names_its_bearer() -> None:
    assert check(issue()) == DIRECTORY.client
    assert DIRECTORY.has_role(DIRECTORY.client)


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        (Flaw.EXPIRED, "has expired"),
        (Flaw.EARLY, "not valid yet"),
        (Flaw.AUDIENCE, "must be for exactly 'https://batch.core.windows.net/'"),
        (Flaw.ISSUER, "must be 'https://sts.windows.net/"),
        (Flaw.SIGNATURE, "Signature verification failed"),
    ],
)
def test_a_token_with_a_flaw_is_refused_and_the_flaw_is_named(flaw: Flaw, reason: str) -> None:
    with pytest.raises(BadToken, match=reason):
        check(issue(flaw))


def test_batch_refuses_a_token_for_storage() -> None:
    token = DIRECTORY.issue(STORAGE, bearer=DIRECTORY.client, now=NOW)
    with pytest.raises(BadToken, match=r"The token is for 'https://storage\.azure\.com'"):
        check(token)


def test_a_token_is_valid_for_its_lifetime_and_the_tolerated_clock_skew() -> None:
    token, life = issue(), timedelta(seconds=TOKEN_SECONDS)
    check(token, now=NOW - CLOCK_SKEW)
    check(token, now=NOW + life + CLOCK_SKEW)
    for moment in (NOW - CLOCK_SKEW, NOW + life + CLOCK_SKEW):
        outside = moment + timedelta(seconds=1 if moment > NOW else -1)
        with pytest.raises(BadToken):
            check(token, now=outside)


def test_a_bearer_without_a_role_has_a_valid_token() -> None:
    assert not DIRECTORY.has_role(check(issue(Flaw.ROLE)))


@pytest.mark.parametrize("missing", ["aud", "iss", "exp", "nbf", "oid"])
def test_a_token_without_a_claim_is_refused(missing: str) -> None:
    claims = DIRECTORY.claims(BATCH, bearer=DIRECTORY.client, now=NOW)
    del claims[missing]
    with pytest.raises(BadToken, match=missing):
        check(jwt.encode(claims, DIRECTORY.key, algorithm="RS256"))


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c.d"])
def test_text_without_three_parts_is_refused_as_no_token(token: str) -> None:
    with pytest.raises(BadToken, match="not a JSON Web Token: it must have three parts"):
        check(token)


def test_three_parts_that_are_no_token_are_refused() -> None:
    with pytest.raises(BadToken, match="not valid"):
        check("a.b.c")


@pytest.mark.parametrize("header", ["Bearer a.b.c", "bearer a.b.c"])
def test_the_token_of_a_request_is_in_its_authorization_header(header: str) -> None:
    assert token_of(header) == "a.b.c"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "no Authorization header; it must be 'Bearer <token>'"),
        ("", "no Authorization header"),
        ("Basic abc", "the scheme 'Basic'; it must be 'Bearer <token>'"),
        ("a.b.c", "the scheme 'a.b.c'"),
    ],
)
def test_a_request_without_a_token_is_refused_with_what_it_must_have(
    header: str | None, reason: str
) -> None:
    with pytest.raises(BadToken, match=reason):
        token_of(header)


def test_an_unsigned_token_is_refused() -> None:
    claims = DIRECTORY.claims(BATCH, bearer=DIRECTORY.client, now=NOW)
    with pytest.raises(BadToken):
        check(jwt.encode(claims, "", algorithm="none"))


def test_the_repr_shows_neither_secret_nor_key() -> None:
    assert "canary" not in repr(DIRECTORY)
    assert "RSAPrivateKey" not in repr(DIRECTORY)
