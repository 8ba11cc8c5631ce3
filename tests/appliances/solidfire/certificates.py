# SPDX-License-Identifier: Apache-2.0
"""An authority of the tests, and certificates that it signs."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from pathlib import Path

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650")


class Authority:
    """A certificate authority in a directory of its own; ``ca`` is the file that clients trust."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = directory / "ca.pem"
        directory.mkdir(parents=True, exist_ok=True)
        if not self.ca.exists():
            key, ca = directory / "ca.key", self.ca
            _openssl("req", "-x509", *NEW_KEY, "-subj", "/CN=test authority", "-keyout", key, "-out", ca)

    def sign(self, address: str) -> tuple[Path, Path]:
        """A certificate for an IP address or a host's name: the file with it, and that with its key."""
        certificate, key = self.directory / f"{address}.pem", self.directory / f"{address}.key"
        request = self.directory / f"{address}.csr"
        kind = "IP" if address.replace(".", "").isdigit() else "DNS"
        extension = self.directory / f"{address}.ext"
        extension.write_text(f"subjectAltName={kind}:{address}\n")
        _openssl("req", *NEW_KEY[:-2], "-subj", f"/CN={address}", "-keyout", key, "-out", request)
        signer = ("-CA", self.ca, "-CAkey", self.directory / "ca.key", "-CAcreateserial", "-days", "3650")
        _openssl("x509", "-req", "-in", request, *signer, "-extfile", extension, "-out", certificate)
        return certificate, key


def fingerprint(certificate: Path) -> str:
    """The SHA-256 of a certificate, as administrators write it."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest().upper()
    return ":".join(digest[place : place + 2] for place in range(0, 64, 2))


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
