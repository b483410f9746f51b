"""The certificate we show: the operator's, or one signed by ourselves.

The self-signed one is made at first start and kept, key and certificate in one file, so that there is no moment when a
key without its certificate can be read. It is linked into place: of several processes that start at once one wins, and
all show the same. A new context serves the handshakes that begin after `reload`; sessions under way keep theirs.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import ssl
import tempfile
from pathlib import Path
from typing import Final

from pipeline.faults import ConfigurationError
from pipeline.settings import Settings

VALID: Final = dt.timedelta(days=3650)
"""Of the self-signed certificate. Nobody can verify it, so nothing is won by changing it often."""
_MARGIN: Final = dt.timedelta(days=1)
"""For clients whose clock is behind."""


class Certificates:
    """`now` in ns since the epoch. Raises ConfigurationError when a certificate cannot be read or made."""

    def __init__(self, settings: Settings, hostname: str, now: int) -> None:
        if settings.tls_certificate:
            self._files = (settings.tls_certificate, settings.tls_key)
        else:
            own = str(_self_signed(_own(settings), hostname, now))
            self._files = (own, own)
        self.context = _context(*self._files)

    def reload(self) -> None:
        """Read the files again. Raises ConfigurationError, and the context stays as it was."""
        self.context = _context(*self._files)


def _context(certificate: str, key: str) -> ssl.SSLContext:
    # Not create_default_context: it loads the system's authorities, and clients show no certificates.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or "not a certificate and its key in PEM"
        raise ConfigurationError(
            f"cannot use {certificate} with {key}: {reason}",
            remedy="Set tls_certificate and tls_key to PEM files that belong together and that this user may read.",
        ) from None
    return context


def prepare(settings: Settings, hostname: str, now: int) -> None:
    """Have the self-signed certificate made, if there is none, by a child that ends: each receiver that made one would be 6 MiB larger as long
    as it lives. Only before there is a thread or a loop here. What goes wrong is left for a receiver to tell.
    """
    if settings.tls_certificate or _own(settings).exists():
        return
    child = os.fork()
    if not child:
        try:
            with contextlib.suppress(ConfigurationError):
                _self_signed(_own(settings), hostname, now)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _own(settings: Settings) -> Path:
    return settings.data / "tls" / "self-signed.pem"


def _self_signed(path: Path, hostname: str, now: int) -> Path:
    """`path`, after making sure that it holds a key and a certificate."""
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # mkstemp gives mode 0600.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix="new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_make(hostname, now))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(name, path)
        finally:
            Path(name).unlink()
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}", remedy="Give this user the right to write there."
        ) from None
    return path


def _make(hostname: str, now: int) -> bytes:
    # Imported for the first start only: 60 ms that every later start would pay.
    from cryptography import x509  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - see above

    today = dt.datetime.fromtimestamp(now / 1e9, dt.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    # A common name has at most 64 characters; what counts is the alternative name.
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hostname[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - _MARGIN)
        .not_valid_after(today + VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
