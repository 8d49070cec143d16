"""A certificate authority for one test session: a valid server certificate, and one that has expired."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_CONFIGURATION = """
[ca]
default_ca = session
[session]
database = index.txt
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = names
[names]
commonName = supplied
[req]
distinguished_name = asked
[asked]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:false
subjectAltName = IP:127.0.0.1, DNS:localhost
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files: what a client trusts, and two keys with certificates for a server on 127.0.0.1."""

    ca_path: Path
    server_path: Path
    expired_path: Path


def make_certificates(folder: Path) -> Certificates:
    """Make an authority and its two server certificates in ``folder`` (needs the ``openssl`` command)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "openssl.cnf").write_text(_CONFIGURATION)
    (folder / "index.txt").touch()
    subject = ["-subj", "/CN=stream-al tests", "-extensions", "authority", "-days", "30"]
    _openssl(folder, "req", "-x509", *_NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem", *subject)
    _openssl(
        folder, "req", *_NEW_KEY, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"
    )
    return Certificates(
        ca_path=folder / "ca.pem",
        server_path=_signed(folder, "server", ["-days", "30"]),
        expired_path=_signed(
            folder, "expired", ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"]
        ),
    )


def _signed(folder: Path, name: str, validity: list[str]) -> Path:
    """Let the authority sign the server's request; return a PEM file with the key and the certificate."""
    authority = ["-cert", "ca.pem", "-keyfile", "ca.key", "-extensions", "server"]
    result = ["-in", "server.csr", "-out", f"{name}.crt"]
    _openssl(folder, "ca", "-batch", "-notext", *authority, *validity, *result)
    path = folder / f"{name}.pem"
    path.write_text((folder / "server.key").read_text() + (folder / f"{name}.crt").read_text())
    return path


def _openssl(folder: Path, command: str, *arguments: str) -> None:
    line = ["openssl", command, "-config", "openssl.cnf", *arguments]
    ran = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise RuntimeError(f"{' '.join(line)} failed: {ran.stderr.strip()}")
