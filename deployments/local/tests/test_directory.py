"""Tokens: what is in them, and which are believed."""

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
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DIRECTORY = Directory(secret="canary")


def issue(flaw: Flaw | None = None) -> str:
    return DIRECTORY.issue(BATCH, bearer=DIRECTORY.client, now=NOW, flaw=flaw)


def check(token: str, *, now: datetime = NOW) -> str:
    return DIRECTORY.check(token, resource=BATCH, now=now)


def test_a_token_tells_who_bears_it() -> None:
    assert check(issue()) == DIRECTORY.client
    assert DIRECTORY.has_role(DIRECTORY.client)


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        (Flaw.EXPIRED, "has expired"),
        (Flaw.EARLY, "not valid yet"),
        (Flaw.AUDIENCE, "must be for 'https://batch.core.windows.net/' exactly"),
        (Flaw.ISSUER, "must be by 'https://sts.windows.net/"),
        (Flaw.SIGNATURE, "Signature verification failed"),
    ],
)
def test_a_token_with_a_flaw_is_not_believed_and_the_flaw_is_named(flaw: Flaw, reason: str) -> None:
    with pytest.raises(BadToken, match=reason):
        check(issue(flaw))


def test_a_token_for_storage_does_not_do_for_batch() -> None:
    token = DIRECTORY.issue(STORAGE, bearer=DIRECTORY.client, now=NOW)
    with pytest.raises(BadToken, match=r"The token is for 'https://storage\.azure\.com'"):
        check(token)


def test_a_token_holds_for_its_time_and_the_skew_of_clocks() -> None:
    token, life = issue(), timedelta(seconds=TOKEN_SECONDS)
    check(token, now=NOW - CLOCK_SKEW)
    check(token, now=NOW + life + CLOCK_SKEW)
    for moment in (NOW - CLOCK_SKEW, NOW + life + CLOCK_SKEW):
        outside = moment + timedelta(seconds=1 if moment > NOW else -1)
        with pytest.raises(BadToken):
            check(token, now=outside)


def test_who_has_no_role_bears_a_true_token_and_may_not_use_batch() -> None:
    assert not DIRECTORY.has_role(check(issue(Flaw.ROLE)))


@pytest.mark.parametrize("missing", ["aud", "iss", "exp", "nbf", "oid"])
def test_a_token_without_a_claim_is_not_believed(missing: str) -> None:
    claims = DIRECTORY.claims(BATCH, bearer=DIRECTORY.client, now=NOW)
    del claims[missing]
    with pytest.raises(BadToken, match=missing):
        check(jwt.encode(claims, DIRECTORY.key, algorithm="RS256"))


@pytest.mark.parametrize("token", ["", "a", "a.b.c"])
def test_what_is_no_token_is_not_believed(token: str) -> None:
    with pytest.raises(BadToken):
        check(token)


def test_an_unsigned_token_is_not_believed() -> None:
    claims = DIRECTORY.claims(BATCH, bearer=DIRECTORY.client, now=NOW)
    with pytest.raises(BadToken):
        check(jwt.encode(claims, "", algorithm="none"))


def test_neither_the_secret_nor_the_key_is_shown() -> None:
    assert "canary" not in repr(DIRECTORY)
    assert "RSAPrivateKey" not in repr(DIRECTORY)
