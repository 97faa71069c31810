"""What cannot be loaded is told by the name of its setting, and nobody is asked for a password."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from events.errors import SettingsError
from events.tls_files import load_authorities, load_own_certificate
from tests.certificates import Authority, Files

PASSWORD = "correct-horse-battery"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def load(certfile: Path, keyfile: Path | None, password: str | None = None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_own_certificate(context, "TLS_", str(certfile), None if keyfile is None else str(keyfile), password)


def problem(certfile: Path, keyfile: Path | None, password: str | None = None) -> str:
    with pytest.raises(SettingsError) as refused:
        load(certfile, keyfile, password)
    [told] = refused.value.problems
    assert PASSWORD not in told
    assert str(certfile.parent) not in told
    return told


def test_a_certificate_and_its_key_in_two_files_or_in_one(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue("server")
    load(files.certfile, files.keyfile)

    both = tmp_path / "both.pem"
    both.write_bytes(files.keyfile.read_bytes() + files.certfile.read_bytes())
    load(both, None)


def test_the_password_of_a_key(authority: Authority) -> None:
    files = authority.issue("server", password=PASSWORD)
    load(files.certfile, files.keyfile, PASSWORD)

    assert problem(files.certfile, files.keyfile, "wrong").endswith("the password is wrong")
    # Left to OpenSSL, it would ask the terminal and wait.
    assert problem(files.certfile, files.keyfile).endswith("the key is encrypted")


def test_a_password_that_no_key_needs(authority: Authority) -> None:
    files = authority.issue("server")
    told = problem(files.certfile, files.keyfile, PASSWORD)
    assert told == "TLS_KEYFILE_PASSWORD: the key is not encrypted"


def test_the_file_that_is_missing_is_named(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue("server")
    nothing = tmp_path / "nothing"
    assert problem(nothing, files.keyfile).startswith("TLS_CERTFILE cannot be loaded: No such file")
    assert problem(files.certfile, nothing).startswith("TLS_KEYFILE cannot be loaded: No such file")
    assert problem(tmp_path, files.keyfile).startswith("TLS_CERTFILE cannot be loaded: Is a directory")


def test_files_that_are_none_or_do_not_belong_together(authority: Authority, tmp_path: Path) -> None:
    files, others = authority.issue("server"), authority.issue("other")
    told = problem(files.certfile, others.keyfile)
    assert told.startswith("TLS_CERTFILE and TLS_KEYFILE cannot be loaded: ")
    assert "mismatch" in told
    assert problem(files.certfile, None).startswith("TLS_CERTFILE cannot be loaded: ")

    for content in (b"", b"no certificate", b"\x00\xff" * 100):
        (tmp_path / "file").write_bytes(content)
        assert "cannot be loaded: " in problem(tmp_path / "file", files.keyfile)
        with pytest.raises(SettingsError, match="CAFILE cannot be loaded: "):
            load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "CAFILE", str(tmp_path / "file"))


def test_a_path_with_a_nul_is_no_file(authority: Authority) -> None:
    files: Files = authority.issue("server")
    with pytest.raises(SettingsError, match="TLS_CERTFILE cannot be loaded"):
        load_own_certificate(
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "TLS_", "nul\x00nul", str(files.keyfile)
        )
