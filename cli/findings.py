"""What `check` finds on the machine itself: settings, files, disk, certificate. Nothing is
changed.
"""

import shutil
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from cli.output import clock, span
from relay.config import Config

DAY_S = 86_400
RENEW_BEFORE_S = 21 * DAY_S
SPARE_SHARE = 3  # less than so many times what intake stops at is worth a word
OK, NOTE, TO_DO = "ok", "note", "to do"


@dataclass(frozen=True, slots=True)
class Finding:
    """`verdict` is ok, note, or to do; `text` says what was seen and what to do."""

    what: str
    verdict: str
    text: str


def on_machine(config: Config) -> Iterator[Finding]:
    yield Finding("settings", OK, "every setting is valid")
    yield private(config)
    yield disk(config)
    if config.smtp.tls_cert and config.smtp.tls_key:
        yield certificate(config.smtp.tls_cert, config.smtp.tls_key, time.time())


def private(config: Config) -> Finding:
    """Look who can read what only the owner should."""
    folder = config.instance_dir
    if folder.stat().st_mode & 0o077:
        return Finding("files", TO_DO, f"others may look into {folder}: chmod 700 {folder}")
    return Finding("files", OK, f"only their owner may look into {folder}")


def disk(config: Config) -> Finding:
    path = config.database.sqlite_path
    folder = path.parent if path else config.instance_dir
    free, stop_at = shutil.disk_usage(folder).free, config.limits.min_free_disk_bytes
    seen = f"{free / 1e9:.1f} GB free at {folder}; intake stops at {stop_at / 1e9:.1f} GB"
    if free < stop_at:
        return Finding("disk", TO_DO, f"{seen}: make room, no mail is taken")
    return Finding("disk", NOTE if free < SPARE_SHARE * stop_at else OK, seen)


def certificate(cert: Path, key: Path, now: float) -> Finding:
    """Look whether the certificate fits its key and how long it is valid."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
        leaf = x509.load_pem_x509_certificates(cert.read_bytes())[0]
    except (OSError, ValueError) as error:
        return Finding("certificate", TO_DO, f"{cert} cannot be used with its key: {error}")
    ends_at = leaf.not_valid_after_utc.timestamp()
    if ends_at < now:
        return Finding("certificate", TO_DO, f"it ended at {clock(ends_at)}: renew {cert}")
    seen = f"valid for {span(ends_at - now)}, until {clock(ends_at)}"
    if ends_at - now < RENEW_BEFORE_S:
        return Finding("certificate", TO_DO, f"{seen}: renew it")
    return Finding("certificate", OK, seen)
