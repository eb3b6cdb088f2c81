"""The head of a mail, and its lines, as bytes that are never re-serialised.

lines: NUL, line ends, line lengths, dot transparency. slices: searching large mail. head: fields by
name, taking some out, putting some in front. trace: the Received field. words: RFC 2047 for people
to read. controls: what X-Pillarbox-* asks of us.
"""

from relay.formats.headers.controls import Controls, controls
from relay.formats.headers.head import (
    Head,
    making_outgoing,
    outgoing,
    scan,
    too_large_header,
    without,
)
from relay.formats.headers.lines import (
    assess,
    assessing,
    crlf,
    dot_stuff,
    dot_stuffing,
    making_crlf,
    unstuff,
    unstuffing,
)
from relay.formats.headers.trace import Trace, date_of, received
from relay.formats.headers.words import Summary, decode_words, display

__all__ = [
    "Controls",
    "Head",
    "Summary",
    "Trace",
    "assess",
    "assessing",
    "controls",
    "crlf",
    "date_of",
    "decode_words",
    "display",
    "dot_stuff",
    "dot_stuffing",
    "making_crlf",
    "making_outgoing",
    "outgoing",
    "received",
    "scan",
    "too_large_header",
    "unstuff",
    "unstuffing",
    "without",
]
