"""What a server is told of who may ask."""

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.wire.addresses import Tcp, Unix
from flowserve.core.wire.tokens import Tokens
from flowserve.shell.wire.listening import reserve
from flowserve.shell.wire.security import Security, check_reach, read_security, security_of

TOKEN = "a-token-of-team-a"


def tokens_of(tmp_path, text, environment=None):
    file = tmp_path / "tokens"
    if text is not None:
        file.write_bytes(text)
    return read_security(None, None, file, environment or {}).tokens


def refusal(call, *arguments) -> str:
    with pytest.raises(Refused) as caught:
        call(*arguments)
    return str(caught.value)


def test_nothing_is_asked_for():
    assert read_security(None, None, None, {}) == Security()


def test_tokens_of_a_file_and_of_the_environment(tmp_path):
    in_file = tokens_of(
        tmp_path, f"# ours\n{TOKEN}\n".encode(), {"FLOWSERVE_TOKENS": "another-token-of-ours"}
    )
    assert in_file.admit(f"Bearer {TOKEN}".encode())
    assert not in_file.admit(b"Bearer another-token-of-ours")
    in_environment = read_security(None, None, None, {"FLOWSERVE_TOKENS": f"{TOKEN} another-token-of-ours"})
    assert in_environment.tokens.admit(b"Bearer another-token-of-ours")


def test_tokens_that_cannot_be_used_are_not_shown(tmp_path):
    said = refusal(tokens_of, tmp_path, b"# ours\nsecret\n")
    assert "unlike that of line 2" in said
    assert "secret" not in said
    said = refusal(read_security, None, None, None, {"FLOWSERVE_TOKENS": f"{TOKEN} secret"})
    assert "unlike that of number 2" in said
    assert "secret" not in said
    assert "at least one" in refusal(tokens_of, tmp_path, b"# none\n")
    assert "not UTF-8" in refusal(tokens_of, tmp_path, b"\xff\xff")
    assert "is a directory" in refusal(read_security, None, None, tmp_path, {})


def test_tokens_are_handed_on_as_hashes():
    security = read_security(None, None, None, {"FLOWSERVE_TOKENS": f"{TOKEN} another-token-of-ours"})
    credentials = security.credentials()
    assert TOKEN not in repr(credentials)
    handed = security_of(credentials)
    assert handed.tokens.admit(f"Bearer {TOKEN}".encode())
    assert not handed.tokens.admit(b"Bearer another")
    assert security_of(Security().credentials()) == Security()


def test_certificates_that_cannot_be_used(tmp_path):
    text = tmp_path / "text"
    text.write_text("no PEM")
    assert "must be given together" in refusal(read_security, text, None, None, {})
    assert "no such file" in refusal(read_security, text, tmp_path / "none", None, {})
    assert "cannot be used" in refusal(read_security, text, text, None, {})


def test_addresses_beyond_the_host(tmp_path):
    with reserve(Tcp("0.0.0.0", 0)) as beyond:
        assert "needs TLS and tokens" in refusal(check_reach, beyond, Security(), False)
        assert "needs TLS" in refusal(check_reach, beyond, Security(tokens=Tokens([TOKEN])), False)
        check_reach(beyond, Security(), True)
    for address in (Tcp("127.0.0.1", 0), Unix(str(tmp_path / "s"))):
        with reserve(address) as here:
            check_reach(here, Security(), False)
