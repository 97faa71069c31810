"""Certificates and keys from PEM files, for clients and servers; errors name the setting, never its value."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from events.errors import SettingsError


def load_own_certificate(
    context: ssl.SSLContext, prefix: str, certfile: str, keyfile: str | None, password: str | None = None
) -> None:
    """Let the context show the certificate of `<prefix>CERTFILE`. Without `keyfile` it holds the key too.

    Raises `SettingsError` where a file cannot be read, they do not belong together, or the password is wrong.
    """
    was_asked = False

    def answer() -> str:
        nonlocal was_asked
        was_asked = True
        # OpenSSL itself would ask the terminal, and whoever started the process would wait for ever.
        return password or ""

    names = [f"{prefix}CERTFILE"]
    _see_that_it_can_be_read(names[0], certfile)
    if keyfile is not None:
        names.append(f"{prefix}KEYFILE")
        _see_that_it_can_be_read(names[1], keyfile)
    with _named(" and ".join(names)):
        try:
            context.load_cert_chain(certfile, keyfile, answer)
        except ssl.SSLError:
            if was_asked:
                wrong = "the password is wrong" if password else "the key is encrypted"
                raise SettingsError([f"{names[-1]} cannot be loaded: {wrong}"]) from None
            raise
    if password and not was_asked:
        raise SettingsError([f"{prefix}KEYFILE_PASSWORD: the key is not encrypted"])


def load_authorities(context: ssl.SSLContext, name: str, cafile: str) -> None:
    """Let the context trust what the authorities in the file of this setting have signed.

    Raises `SettingsError` where the file cannot be read or holds no certificate.
    """
    _see_that_it_can_be_read(name, cafile)
    with _named(name):
        context.load_verify_locations(cafile)


def _see_that_it_can_be_read(name: str, path: str) -> None:
    # What ssl says of two files does not tell which of them is missing.
    with _named(name):
        Path(path).open("rb").close()


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no PEM file"
        raise SettingsError([f"{name} cannot be loaded: {why}"]) from None
