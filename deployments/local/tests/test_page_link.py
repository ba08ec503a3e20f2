"""The link to the live page."""

from base64 import b64encode

from local_azure.page_link import page_link, page_secret


def test_the_secret_follows_the_hash_which_browsers_do_not_send() -> None:
    link = page_link("http://127.0.0.1:10100", b64encode(b"key").decode())
    assert link == f"http://127.0.0.1:10100/_local/#{page_secret(b'key')}"


def test_each_key_has_its_own_secret_of_192_bits() -> None:
    secrets = {page_secret(b"%d" % number) for number in range(100)}
    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {32}
