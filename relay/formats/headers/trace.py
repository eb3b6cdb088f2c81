"""The Received field that we put in front of each mail (RFC 5321 §4.4; PRIORITY: RFC 6710)."""

import re
from email.utils import formatdate
from functools import lru_cache

from relay.value import frozen

_UNFIT = re.compile(r"[^A-Za-z0-9.:_\[\]+-]")
_UNFIT_IN_DATE = re.compile(r"[^A-Za-z0-9,:+ -]")
WORD_MAX_CHARS = 255


@frozen
class Trace:
    """How a mail came in.

    `protocol` is a WITH keyword (RFC 3848, RFC 6531 §4.3) or HTTP; `date` is RFC 5322 §3.3. `helo`
    is what the client called itself, "" where it said nothing; `host` is our own name; `level` is
    the MT-PRIORITY that was asked for.
    """

    helo: str
    peer_ip: str
    host: str
    protocol: str
    pk: str
    date: str
    level: int | None = None


@lru_cache(maxsize=8)
def date_of(second: int) -> str:
    """Return a Unix time as Date has it (RFC 5322 §3.3), in the time zone of this machine."""
    return formatdate(second, localtime=True)


def received(trace: Trace) -> bytes:
    """Return the field with its line end; what the client said is cut and made ASCII."""
    literal = _word(f"IPv6:{trace.peer_ip}" if ":" in trace.peer_ip else trace.peer_ip)
    helo = _word(trace.helo) or f"[{literal}]"
    date = _UNFIT_IN_DATE.sub("?", trace.date)[:WORD_MAX_CHARS]
    priority = "" if trace.level is None else f"\r\n\tPRIORITY {trace.level}"
    return (
        f"Received: from {helo} ([{literal}])\r\n"
        f"\tby {_word(trace.host)} with {_word(trace.protocol)}\r\n"
        f"\tid {_word(trace.pk)}{priority};\r\n"
        f"\t{date}\r\n"
    ).encode("ascii")


def is_id_of(value: str, pk: str) -> bool:
    """Say whether the value of a Received field names this mail, as `received` does."""
    return re.search(rf"\sid {re.escape(pk)}[;\s]", value) is not None


@lru_cache(maxsize=256)
def _word(text: str) -> str:
    return _UNFIT.sub("?", text[:WORD_MAX_CHARS])
