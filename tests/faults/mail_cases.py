"""U1 to U8, U11, U15, U18 to U20: an upstream misbehaves over one mail. What is injected, and what
is to be known of each recipient after the attempt.

`on` is what the upstream does at each moment of the dialogue (tests/fakes/upstream.py); a list is
gone through once, so that what follows it is a well-behaved server.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import trustme

from tests.fakes.script import DROP, HANG, Raw, Rule
from tests.fakes.upstream import LOCKSTEP

BOB = "bob@there.test"
NOBODY = "nobody@there.test"
LATE = "late@there.test"
NO_SUCH_USER = "550 5.1.1 no such user"
GREYLISTED = "450 4.7.1 Greylisted, try later"


@dataclass(frozen=True, slots=True)
class Known:
    """What REST says of a recipient after the first attempt. `doubt`: it may have been taken."""

    state: str
    phase: str
    code: int
    address: str = BOB
    reply: str = ""
    doubt: bool = False

    @property
    def verdict(self) -> str:
        return "unknown" if self.doubt else self.state


@dataclass(frozen=True, slots=True)
class MailCase:
    """`offered`: mails that the upstream was offered in the end. `is_followed`: the next mail by
    the same account goes out at its first attempt. `finds`: what must be in the bytes delivered.
    """

    name: str
    on: Mapping[str, Rule]
    known: tuple[Known, ...]
    way: str = "rest"
    offered: int = 2
    upstream: Mapping[str, object] = field(default_factory=dict)
    account: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    is_followed: bool = False
    text: str = "hi"
    finds: bytes = b"hi"
    on_both_engines: bool = False


def transient(phase: str, code: int, reply: str = "") -> tuple[Known, ...]:
    return (Known("deferred", phase, code, reply=reply),)


SENT = (Known("sent", "dot", 250),)
IN_DOUBT = (Known("deferred", "dot", 0, doubt=True),)
BUSY = "421 4.3.2 busy"

MAIL_CASES = (
    MailCase(
        "U1-drops-before-the-reply-to-the-dot",
        {"DOT": [DROP]},
        IN_DOUBT,
        way="smtp",
        on_both_engines=True,
    ),
    MailCase("U2-drops-at-DATA", {"DATA": [DROP]}, transient("data", 0), way="smtp"),
    MailCase("U3-421-at-MAIL", {"MAIL": [BUSY]}, transient("mail", 421), is_followed=True),
    MailCase("U3-421-at-RCPT", {"RCPT": [BUSY]}, transient("rcpt", 421), is_followed=True),
    MailCase("U3-421-at-DATA", {"DATA": [BUSY]}, transient("data", 421), is_followed=True),
    MailCase("U3-421-at-the-dot", {"DOT": [BUSY]}, transient("dot", 421), is_followed=True),
    MailCase(
        "U4-greylisting",
        {"RCPT": {BOB: [GREYLISTED, GREYLISTED]}},
        transient("rcpt", 450, "Greylisted"),
        offered=3,
    ),
    MailCase(
        "U5-refused-at-RCPT",
        {"RCPT": NO_SUCH_USER},
        (Known("failed", "rcpt", 550, reply="no such user"),),
        offered=1,
        on_both_engines=True,
    ),
    MailCase(
        "U5-refused-at-the-dot",
        {"DOT": "554 5.7.1 this is spam"},
        (Known("failed", "dot", 554, reply="this is spam"),),
        way="smtp",
        offered=1,
        on_both_engines=True,
    ),
    MailCase(
        "U6-each-recipient-its-own-answer",
        {"RCPT": {NOBODY: NO_SUCH_USER, LATE: [GREYLISTED]}},
        (
            Known("sent", "dot", 250),
            Known("failed", "rcpt", 550, NOBODY),
            Known("deferred", "rcpt", 450, LATE),
        ),
        way="smtp",
        on_both_engines=True,
    ),
    MailCase(
        "U7-refused-recipient-and-DATA-451",
        {"RCPT": {NOBODY: NO_SUCH_USER}, "DATA": ["451 4.3.0 not now"]},
        (
            Known("deferred", "data", 451),
            Known("failed", "rcpt", 550, NOBODY),
            Known("deferred", "data", 451, LATE),
        ),
        on_both_engines=True,
    ),
    MailCase(
        "U8-refused-recipient-and-RSET-hangs",
        {"RCPT": {NOBODY: NO_SUCH_USER}, "RSET": HANG},
        (Known("failed", "rcpt", 550, NOBODY),),
        upstream={"extensions": LOCKSTEP},
        settings={"upstream.command_timeout_s": 0.5},
        offered=1,
        is_followed=True,
    ),
    MailCase(
        "U11-reply-of-endless-lines",
        {"RCPT": [Raw(b"250-and so on\r\n" * 20_000)]},
        transient("rcpt", 0, "too"),
    ),
    MailCase("U11-line-without-an-end-at-the-dot", {"DOT": [Raw(b"x" * 100_000)]}, IN_DOUBT),
    MailCase(
        "U11-long-reply-with-control-characters",
        {"DOT": "554 5.7.1 \x1b[31m" + "x" * 7000},
        (Known("failed", "dot", 554, reply="\\x1b[31mx"),),
        offered=1,
    ),
    MailCase(
        "U15-words-put-in-before-TLS",
        {"STARTTLS": [Raw(b"220 go\r\n250-fake\r\n250 SIZE 1\r\n")]},
        SENT,
        offered=1,
        upstream={"ca": trustme.CA(), "starttls": True},
        account={"tls": "starttls", "verify": False},
    ),
    MailCase(
        "U18-a-line-nobody-asked-for-after-the-reply",
        {"DOT": [Raw(b"250 ok\r\n250 hello?\r\n")]},
        SENT,
        offered=1,
        is_followed=True,
    ),
    MailCase(
        "U18-a-line-nobody-asked-for-between-commands",
        {"MAIL": [Raw(b"250 ok\r\n250 hello?\r\n")], "RCPT": [NO_SUCH_USER]},
        (Known("failed", "rcpt", 550),),
        upstream={"extensions": LOCKSTEP},
        offered=1,
        is_followed=True,
    ),
    MailCase(
        "U19-no-8BITMIME",
        {},
        SENT,
        way="smtp",
        offered=1,
        upstream={"extensions": ("SIZE",)},
        text="Grüße",
        finds=b"Gr=C3=BC=C3=9Fe",
    ),
    MailCase(
        "U19-no-SMTPUTF8",
        {},
        (Known("failed", "relay", 550, "jörg@there.test", "5.6.7"),),
        offered=0,
        upstream={"extensions": ("8BITMIME",)},
    ),
    MailCase(
        "U19-SIZE-100",
        {},
        (Known("failed", "relay", 552, reply="5.3.4"),),
        way="smtp",
        offered=0,
        upstream={"extensions": ("SIZE 100",)},
    ),
    MailCase(
        "U20-an-idle-connection-was-closed",
        {},
        SENT,
        offered=1,
        upstream={"idle_close_s": 0.1},
        is_followed=True,
    ),
)
