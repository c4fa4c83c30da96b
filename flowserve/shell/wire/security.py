"""Who may ask, and how that is kept from others: TLS, bearer tokens, and addresses beyond this host."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from flowc.plan.diagnostics import Place, refuse
from flowserve.core.wire.tokens import TOKEN_LENGTH_MIN, Tokens, parse_tokens
from flowserve.shell.wire.listening import address_of, only_this_host, reason

TOKENS_VARIABLE = "FLOWSERVE_TOKENS"


class Tls(msgspec.Struct, frozen=True):
    """A server's certificate, with those that vouch for it, and its key: as PEM, and for Python's ssl."""

    certificates: bytes
    key: bytes
    context: ssl.SSLContext
    """Of HTTP/1.1."""
    http2_context: ssl.SSLContext


class Security(msgspec.Struct, frozen=True):
    """What holds for every address of a server. Without tokens, who reaches the server may ask."""

    tls: Tls | None = None
    tokens: Tokens | None = None

    def credentials(self) -> Credentials:
        """Return it as it is handed on to another process of the server."""
        pair = (self.tls.certificates, self.tls.key) if self.tls else (b"", b"")
        return Credentials(*pair, digests=self.tokens.digests if self.tokens else [])


class Credentials(msgspec.Struct, frozen=True):
    """Security as bytes: PEM, and the tokens' hashes. Empty where there is none."""

    certificates: bytes = b""
    key: bytes = b""
    digests: list[bytes] = []


def read_security(
    certificate: Path | None, key: Path | None, tokens: Path | None, environment: Mapping[str, str]
) -> Security:
    """Read what the command line and the environment name. Raises `Refused` FS251 and FS254."""
    if (certificate is None) is not (key is None):
        refuse("FS254", "`--tls-cert` and `--tls-key` must be given together")
    tls = _read_tls(certificate, key) if certificate and key else None
    return Security(tls, _read_tokens(tokens, environment.get(TOKENS_VARIABLE, "")))


def security_of(credentials: Credentials) -> Security:
    """Return what `Security.credentials` was made of, without the files that it was read from."""
    tls = None
    if credentials.key:
        with _in_memory(credentials.certificates) as chain, _in_memory(credentials.key) as key:
            tls = Tls(credentials.certificates, credentials.key, *_tls_contexts(chain, key))
    return Security(tls, Tokens((), credentials.digests) if credentials.digests else None)


def check_reach(listener: socket.socket, security: Security, trusted: bool) -> None:
    """Refuse (FS253) an address that other hosts reach, unless they need a token and cannot read others'."""
    if trusted or only_this_host(listener) or (security.tls and security.tokens):
        return
    missing = " and ".join(
        text for text, there in (("TLS", security.tls), ("tokens", security.tokens)) if not there
    )
    refuse(
        "FS253",
        f"`{address_of(listener)}` can be reached from other hosts, which needs {missing}",
        hint="`--trust-network` goes without, where only who may ask reaches the server",
    )


def _read_tls(certificate: Path, key: Path) -> Tls:
    for file in (certificate, key):
        if not file.is_file():
            refuse("FS254", "there is no such file", Place(str(file)))
    try:
        return Tls(certificate.read_bytes(), key.read_bytes(), *_tls_contexts(certificate, key))
    except ssl.SSLError as error:
        why = (error.reason or "not PEM, or a key with a passphrase").replace("_", " ").lower()
        refuse("FS254", f"the certificate and its key cannot be used: {why}", Place(str(certificate)))
    except OSError as error:
        refuse(
            "FS254", f"the certificate and its key cannot be read: {reason(error)}", Place(str(certificate))
        )


def _tls_contexts(certificate: Path, key: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return _tls_context(certificate, key, "http/1.1"), _tls_context(certificate, key, "h2")


def _tls_context(certificate: Path, key: Path, protocol: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([protocol])
    # A key with a passphrase would have OpenSSL ask for it at the terminal.
    context.load_cert_chain(certificate, key, password=lambda: "")
    return context


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[Path]:
    """A file for OpenSSL, which reads no others, that is on no disk."""
    with open(os.memfd_create("pem"), "wb") as file:
        file.write(data)
        file.flush()
        yield Path(f"/proc/self/fd/{file.fileno()}")


def _read_tokens(file: Path | None, variable: str) -> Tokens | None:
    place = Place(str(file)) if file else Place(f"${TOKENS_VARIABLE}")
    if file is None:
        if not variable:
            return None
        text = "\n".join(variable.split())
    else:
        try:
            text = file.read_text("utf-8")
        except OSError as error:
            refuse("FS251", f"the tokens cannot be read: {reason(error)}", place)
        except UnicodeDecodeError:
            refuse("FS251", "the tokens cannot be read: the file is not UTF-8", place)
    tokens, wrong = parse_tokens(text)
    if wrong:  # no place with a line, which would be shown: it may be a token all but for a letter
        where = f"line {wrong[0]}" if file else f"number {wrong[0]}"
        expected = f"at least {TOKEN_LENGTH_MIN} characters of ASCII without spaces"
        refuse("FS251", f"a token must be {expected}, unlike that of {where}", place)
    if not tokens:
        refuse("FS251", "there must be at least one token", place)
    return Tokens(tokens)
