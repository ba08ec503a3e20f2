"""The certificate that a stack makes."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import pytest
from cryptography import x509

from local_azure.certificate import LEAST_LEFT, LIFETIME, Certificate, make_certificate

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def leaf(certificate: Certificate) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate.chain.read_bytes())


@pytest.fixture(autouse=True)
def _no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("NODE_EXTRA_CA_CERTS", raising=False)


def test_the_certificate_is_for_loopback_and_only_the_user_can_read_its_key(tmp_path: Path) -> None:
    made = make_certificate(tmp_path / "tls", now=NOW)
    names = leaf(made).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["127.0.0.1", "localhost"]
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.key.parent.stat().st_mode) == 0o700


def test_the_certificate_stays_the_same_between_starts(tmp_path: Path) -> None:
    first = leaf(make_certificate(tmp_path / "tls", now=NOW))
    later = NOW + LIFETIME - LEAST_LEFT - timedelta(seconds=1)
    assert leaf(make_certificate(tmp_path / "tls", now=later)) == first


def test_the_certificate_is_renewed_before_it_expires(tmp_path: Path) -> None:
    first = leaf(make_certificate(tmp_path / "tls", now=NOW))
    later = NOW + LIFETIME - LEAST_LEFT + timedelta(days=1)
    second = leaf(make_certificate(tmp_path / "tls", now=later))
    assert second.not_valid_after_utc == later + LIFETIME
    assert second.public_key() != first.public_key()


def test_the_key_of_the_authority_is_not_kept(tmp_path: Path) -> None:
    make_certificate(tmp_path / "tls", now=NOW)
    keys = [path.name for path in (tmp_path / "tls").iterdir() if b"PRIVATE" in path.read_bytes()]
    assert keys == ["key.pem"]


def trusted(bundle: Path) -> set[bytes]:
    return set(ssl.create_default_context(cafile=str(bundle)).get_ca_certs(binary_form=True))


def test_the_bundle_adds_one_authority_to_the_default_ones(tmp_path: Path) -> None:
    bundle = make_certificate(tmp_path / "tls", now=NOW).bundle
    assert len(trusted(bundle) - trusted(Path(certifi.where()))) == 1
    assert trusted(Path(certifi.where())) < trusted(bundle)


def test_the_bundle_has_the_certificates_of_the_users_own_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = make_certificate(tmp_path / "proxy", now=NOW)
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.bundle))
    assert trusted(proxy.bundle) < trusted(make_certificate(tmp_path / "tls", now=NOW).bundle)


def test_the_bundle_also_has_the_certificates_that_nodejs_trusts_in_addition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = make_certificate(tmp_path / "proxy", now=NOW).chain.with_name("authority.pem")
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(proxy))
    bundle = make_certificate(tmp_path / "tls", now=NOW).bundle
    assert trusted(proxy) | trusted(Path(certifi.where())) < trusted(bundle)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"])
def test_the_bundle_does_not_grow_if_it_is_the_one_in_the_environment(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_certificate(tmp_path / "tls", now=NOW).bundle
    before = bundle.read_bytes()
    monkeypatch.setenv(variable, str(bundle))
    assert make_certificate(tmp_path / "tls", now=NOW).bundle.read_bytes() == before
