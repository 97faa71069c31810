"""Certificates that are made for a test, in the files that operators have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization


@dataclass(frozen=True, slots=True)
class Files:
    """A certificate with its chain, and its key."""

    certfile: Path
    keyfile: Path


class Authority:
    """Signs certificates; `cafile` is what those trust who trust it."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._authority = trustme.CA(organization_name=name)
        self._folder = folder
        self.cafile = folder / f"{name}.pem"
        self._authority.cert_pem.write_to_path(self.cafile)

    def issue(self, name: str, *identities: str, password: str | None = None) -> Files:
        """Files named so, for those names and addresses (127.0.0.1 where none is given).

        Issued again under the same name they are replaced, as a renewal does.
        """
        issued = self._authority.issue_cert(*(identities or ("127.0.0.1",)))
        files = Files(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        files.certfile.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        files.keyfile.write_bytes(_key(issued.private_key_pem.bytes(), password))
        return files


def _key(pem: bytes, password: str | None) -> bytes:
    if password is None:
        return pem
    return serialization.load_pem_private_key(pem, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    )
