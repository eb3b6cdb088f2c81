"""What is told and read beside the mail while nodes freeze and die: reports to clients, and the
mailbox that mail comes back to. Another node takes over; each event is told at least once, signed,
in the order of its message, and each mail that came back acts once.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise

from standardwebhooks import Webhook, WebhookVerificationError

from tests.fakes.bounces import bounce
from tests.fakes.client import Call, FakeClient, Json, Reply, ok
from tests.fakes.imap import FakeImap
from tests.faults.actions import Action, any_of, sequence, wait
from tests.faults.house import House
from tests.faults.invariants import Violation
from tests.faults.ledgers import Books, Got
from tests.faults.limits import change
from tests.faults.nodes import FROZEN, NODES, PACE, SHARED, any_node, die, hang
from tests.faults.run import Run
from tests.waiting import until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
QUICK = {
    "PILLARBOX_CALLBACK_POLL_S": "0.1",
    "PILLARBOX_CALLBACK_RETRY_WAITS_S": "0.5",
    "PILLARBOX_MAILBOXES_REST_S": "0.2,0.5",
}
BOUNCES = 5
TOLD_S = 30.0


class Listener:
    """A tenant's web server, which looks at each signature as it comes."""

    def __init__(self) -> None:
        self.server = FakeClient(self._answer)
        self.unsigned = 0

    def _answer(self, call: Call) -> Reply:
        try:
            Webhook(SECRET).verify(call.body, call.headers)
        except WebhookVerificationError:
            self.unsigned += 1
        return ok()

    @property
    def firsts(self) -> dict[str, Json]:
        """Each event as it was told first, in that order."""
        found: dict[str, Json] = {}
        for entry in self.server.entries:
            found.setdefault(entry["event_id"], entry)
        return found

    @property
    def repeats(self) -> int:
        """Count the calls that told something again."""
        known: set[str] = set()
        count = 0
        for call in self.server.full:
            events = {entry["event_id"] for entry in call.entries}
            count += bool(events & known)
            known |= events
        return count

    def told(self, field_name: str) -> set[str]:
        """The messages of which that was told."""
        return {entry["pk"] for entry in self.firsts.values() if field_name in entry}


@dataclass
class Outside:
    """All that a house's nodes tell and read beside the mail, anew for each run."""

    listeners: dict[str, Listener] = field(default_factory=dict)
    imap: FakeImap = field(default_factory=FakeImap)
    bounced: set[str] = field(default_factory=set)
    rounds: int = 0

    async def open(self, house: House, _chance: random.Random) -> None:
        self.listeners = {name: Listener() for name in house.tenants}
        self.imap, self.bounced, self.rounds = FakeImap(), set(), 0
        await house.enter(self.imap)
        for name, listener in self.listeners.items():
            await house.enter(listener.server)
            await change(house, name, client_base_url=listener.server.url, callback_secret=SECRET)
        mailbox = asdict(self.imap.bounce_mailbox())
        answer = await house.nodes[0].client.put("/instance", json=mailbox)
        assert answer.status_code == 200, answer.text

    async def bounce_some(self, house: House, chance: random.Random) -> None:
        """Have some of the last mails come back."""
        self.rounds += 1
        recent = house.got[-50:]
        for got in chance.sample(recent, min(BOUNCES, len(recent))):
            pk = await pk_of(house, got)
            if pk not in self.bounced:
                self.bounced.add(pk)
                original = f"X-Pillarbox-ID: {pk}\r\n\r\n".encode()
                self.imap.add(bounce("app@here.test", got.recipient, original=original))

    async def all_was_told(self, _house: House, books: Books) -> list[Violation]:
        sent = {entry.pk for entry in books.shown if entry.status in ("sent", "bounced")}

        async def is_told() -> bool:
            told = set().union(*(each.told("sent_ts") for each in self.listeners.values()))
            back = set().union(*(each.told("bounce_ts") for each in self.listeners.values()))
            return sent <= told and self.bounced <= back

        try:
            await until(is_told, timeout_s=TOLD_S, every_s=0.2)
        except AssertionError:
            return [Violation("I1", "reports", f"not everything was told within {TOLD_S:g} s")]
        return list(self._violations())

    def _violations(self) -> Iterator[Violation]:
        for name, listener in self.listeners.items():
            if listener.unsigned:
                yield Violation("I8", name, f"got {listener.unsigned} calls without a signature")
            if listener.repeats > self.rounds:
                what = f"was told {listener.repeats} times again in {self.rounds} faults"
                yield Violation("I3", name, what)
            yield from ordered(listener)


def ordered(listener: Listener) -> Iterator[Violation]:
    """Each message's events came in their order, and it bounced once at most."""
    stories: dict[str, list[Json]] = defaultdict(list)
    for entry in listener.firsts.values():
        stories[entry["pk"]].append(entry)
    for pk, story in stories.items():
        if any(later["seq"] < earlier["seq"] for earlier, later in pairwise(story)):
            yield Violation("I2", pk, "was told of in another order than it happened")
        if sum("bounce_ts" in entry for entry in story) > 1:
            yield Violation("I3", pk, "bounced twice")


async def pk_of(house: House, got: Got) -> str:
    query = {"tenant_id": got.tenant_id, "recipient": got.recipient}
    async with house.as_tenant(got.tenant_id) as client:
        [record] = (await client.get("/messages", params=query)).json()["messages"]
    return str(record["pk"])


OUTSIDE = Outside()
BOUNCE_SOME = Action("have mail come back", OUTSIDE.bounce_some)
FAULT = any_of(any_node(hang, "hang a node"), any_node(die, "kill a node"))
RUNS = (
    Run(
        "reports and bounces, one of 3 nodes frozen or killed",
        sequence(wait(1, 2), BOUNCE_SOME, FAULT),
        rounds=20,
        short=1,
        stores=("postgres",),
        nodes=NODES,
        settings={**SHARED, **QUICK},
        pace=PACE,
        bounds=FROZEN,
        checks=(OUTSIDE.all_was_told,),
        begin=Action("listen", OUTSIDE.open),
    ),
)
