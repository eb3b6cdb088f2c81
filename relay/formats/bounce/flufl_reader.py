"""What flufl.bounce knows and we do not: forms of old and rare mailers.

It is asked last and with the notice alone, cut short: its patterns are tried on every line, and
its way through MIME is Python's, which recurses.
"""

from email.message import Message

from flufl.bounce import scan_message

from relay.formats.bounce.finding import Finding
from relay.formats.bounce.letter import Head

LINES_LIMIT = 150
LINE_LIMIT_CHARS = 300
SHOWN = ("from", "to", "subject")
TROUBLE = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)


def ask_library(head: Head, notice: tuple[str, ...]) -> tuple[Finding, ...]:
    """Return the recipients that flufl.bounce takes for failed for good."""
    mail = Message()
    for name in SHOWN:
        mail[name] = " ".join(head.first(name)[:LINE_LIMIT_CHARS].split())
    lines = [line[:LINE_LIMIT_CHARS] for line in notice[:LINES_LIMIT]]
    mail.set_payload("\n".join(lines).encode("ascii", "replace").decode("ascii"))
    try:
        failed = scan_message(mail)
    except TROUBLE:
        return ()
    text = "\n".join(line for line in lines if line)
    return tuple(
        Finding(address.decode("ascii", "replace"), diagnostic=text) for address in sorted(failed)
    )
