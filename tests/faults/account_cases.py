"""U9, U12 to U14, U16, U17, U21: an account cannot be used. What is injected, and the reason that
is shown.

No mail is to blame, so none pays an attempt: the account rests, and its mail waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import trustme

from tests.fakes.script import DROP, HANG, NO_TLS, Raw, Rule, Slowly

CA = trustme.CA()
OTHER_CA = trustme.CA()
YESTERDAY = datetime.now(UTC) - timedelta(days=1)

WITH_LOGIN = {"user": "app", "password": "right"}
USERS = {"users": {"app": "right"}}
STARTTLS = {"tls": "starttls"}
OPPORTUNISTIC = {"tls": "opportunistic"}
IMPLICIT = {"tls": "implicit"}


@dataclass(frozen=True, slots=True)
class AccountCase:
    """`reason` is how the reason begins that /status and the waiting mail show. `cure` is what is
    changed of the account when the fault is over, besides what `on` says.
    """

    name: str
    reason: str
    on: Mapping[str, Rule] = field(default_factory=dict)
    upstream: Mapping[str, object] = field(default_factory=dict)
    account: Mapping[str, object] = field(default_factory=dict)
    cure: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)


SHORT = {"upstream.connect_timeout_s": 0.5, "upstream.command_timeout_s": 0.5}
TLS_SERVER: Mapping[str, object] = {"ca": CA, "starttls": True}
IN_CLEAR = {"tls": "none"}

ACCOUNT_CASES = (
    AccountCase(
        "U9-greeting-in-drips",
        "connect: timed out",
        on={"GREETING": Slowly("220-" + "x" * 500, 0.1)},
        settings=SHORT,
    ),
    AccountCase("U9-no-greeting", "connect: ", on={"GREETING": HANG}, settings=SHORT),
    AccountCase("U9-421-as-greeting", "connect: 421", on={"GREETING": "421 4.3.2 busy"}),
    AccountCase(
        "U11-greeting-without-an-end", "connect: ", on={"GREETING": Raw(b"220-x\r\n" * 50_000)}
    ),
    AccountCase(
        "U12-STARTTLS-454-where-required",
        "tls: 454",
        on={"STARTTLS": "454 4.7.0 not now"},
        upstream=TLS_SERVER,
        account=STARTTLS,
    ),
    AccountCase(
        "U12-STARTTLS-454-where-opportunistic",
        "tls: 454",
        on={"STARTTLS": "454 4.7.0 not now"},
        upstream=TLS_SERVER,
        account=OPPORTUNISTIC,
    ),
    AccountCase(
        "U13-garbage-after-STARTTLS",
        "tls: ",
        on={"STARTTLS": NO_TLS},
        upstream=TLS_SERVER,
        account=STARTTLS,
    ),
    AccountCase(
        "U13-close-after-STARTTLS",
        "tls: ",
        on={"STARTTLS": Raw(b"220 go\r\n", drop=True)},
        upstream=TLS_SERVER,
        account=STARTTLS,
    ),
    AccountCase("U13-close-at-STARTTLS", "tls: ", {"STARTTLS": DROP}, TLS_SERVER, OPPORTUNISTIC),
    AccountCase(
        "U14-STARTTLS-taken-out-of-the-offer",
        "tls: STARTTLS is required and not offered",
        upstream=USERS,
        account={**STARTTLS, **WITH_LOGIN},
        cure=IN_CLEAR,
    ),
    AccountCase(
        "U14-STARTTLS-taken-out-and-a-login-to-say",
        "tls: STARTTLS is required and not offered",
        upstream=USERS,
        account={**OPPORTUNISTIC, **WITH_LOGIN},
        cure=IN_CLEAR,
    ),
    AccountCase(
        "U16-certificate-of-an-unknown-issuer",
        "tls: ",
        upstream={"ca": OTHER_CA, "starttls": True},
        account=STARTTLS,
        cure={"verify": False},
    ),
    AccountCase(
        "U16-certificate-of-another-name",
        "tls: ",
        upstream={**TLS_SERVER, "names": ["elsewhere.test"]},
        account=STARTTLS,
        cure={"verify": False},
    ),
    AccountCase(
        "U16-certificate-that-is-over",
        "tls: ",
        upstream={"ca": CA, "implicit_tls": True, "valid_until": YESTERDAY},
        account=IMPLICIT,
        cure={"verify": False},
    ),
    AccountCase(
        "U17-login-refused",
        "auth: 535",
        upstream={**USERS, "mechanisms": ("CRAM-MD5", "PLAIN", "LOGIN")},
        account={"user": "app", "password": "wrong"},
        cure=WITH_LOGIN,
    ),
    AccountCase(
        "U21-no-such-host",
        "connect: ",
        account={"host": "no-such-host.invalid"},
        cure={"host": "127.0.0.1"},
    ),
)
