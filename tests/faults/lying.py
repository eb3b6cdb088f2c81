"""`pillarbox serve` that lies: of every few mails one is called sent and is not, is sent twice, or
with other bytes. So the harness itself is tried: it has to notice each.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from relay.dispatch.commands import Offer
from relay.dispatch.session import Session
from relay.model import Outcome, Verdict
from tests.faults.dying import ROOT

START = f"import sys; sys.path.insert(0, {ROOT!r}); from tests.faults.lying import main; main()"
COMMAND: Sequence[str] = (sys.executable, "-c", START, "serve")
EVERY = 5


def lie(offer: Callable[..., Any]) -> Callable[..., Any]:
    numbers = count(1)

    async def lying(self: Session, mail: Offer, before_data: Any) -> list[Outcome]:
        kind, rest = divmod(next(numbers), EVERY)
        if rest:
            return list(await offer(self, mail, before_data))
        if kind % 3 == 0:
            await before_data()
            return [Outcome(p.n, Verdict.SENT, 250, None, "250 ok", "dot") for p in mail.recipients]
        if kind % 3 == 1:
            await offer(self, mail, before_data)
            return list(await offer(self, mail, before_data))
        damaged = replace(mail, content=mail.content + b"and more\r\n")
        return list(await offer(self, damaged, before_data))

    return lying


def main() -> None:
    from cli.main import main as pillarbox

    Session.offer = lie(Session.offer)  # type: ignore[method-assign] # the point of it
    pillarbox()
