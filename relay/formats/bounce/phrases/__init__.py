"""What servers say when they refuse a mail, and the reason each phrase stands for.

A phrase is lower-case text with single spaces; `*` stands for any text of at most 120 characters.
An address in what the server said reads as `@`. The tables are looked through in the order below
and the first phrase found decides, so what is particular stands before what is general: «mailbox
of sender is full of spam» is about spam. Whole sentences and codes of providers come first, then
the mail, the dialogue, the sending host, the sender, the mailbox, the address, the machines, and
last of all words that mean little.
"""

from relay.formats.bounce.phrases.address import ADDRESS
from relay.formats.bounce.phrases.blocked import BLOCKED
from relay.formats.bounce.phrases.closed import CLOSED
from relay.formats.bounce.phrases.domain import DOMAIN
from relay.formats.bounce.phrases.expiry import EXPIRY
from relay.formats.bounce.phrases.full import FULL
from relay.formats.bounce.phrases.general import GENERAL
from relay.formats.bounce.phrases.languages import LANGUAGES
from relay.formats.bounce.phrases.lists import LISTS
from relay.formats.bounce.phrases.mail import MAIL
from relay.formats.bounce.phrases.mailers import MAILERS
from relay.formats.bounce.phrases.policy import POLICY
from relay.formats.bounce.phrases.protocol import PROTOCOL
from relay.formats.bounce.phrases.providers import PROVIDERS
from relay.formats.bounce.phrases.rates import RATES
from relay.formats.bounce.phrases.relaying import RELAYING
from relay.formats.bounce.phrases.reputation import REPUTATION
from relay.formats.bounce.phrases.rights import RIGHTS
from relay.formats.bounce.phrases.sender import SENDER
from relay.formats.bounce.phrases.system import SYSTEM
from relay.formats.bounce.phrases.user import USER

Table = tuple[tuple[str, tuple[str, ...]], ...]

TABLES: tuple[Table, ...] = (
    PROVIDERS,
    MAILERS,
    MAIL,
    PROTOCOL,
    RELAYING,
    SENDER,
    LISTS,
    RATES,
    REPUTATION,
    POLICY,
    BLOCKED,
    RIGHTS,
    FULL,
    CLOSED,
    DOMAIN,
    USER,
    ADDRESS,
    LANGUAGES,
    SYSTEM,
    EXPIRY,
    GENERAL,
)

EXACT = (PROVIDERS, MAILERS)
"Tables whose phrases say what they mean, whenever they were said."

__all__ = ["EXACT", "GENERAL", "TABLES", "Table"]
