"""Who guesses: the failed logins of SMTP and the wrong tokens of REST, kept together.

Promises: asked only for a password that has to be hashed and for what failed, never for who is let
in by what is known already. Where the nodes share a database, they share this; one that does not
answer in time costs no login, but each node then goes by what it knows itself. Who stands in too
long a line is refused without a statement, so a flood does not reach the database.

A place is an IPv4 address, or the /64 that one IPv6 subscriber has (RFC 6177). Of what was tried a
part of a digest is kept: people type passwords where a name is asked.
"""

import asyncio
import ipaddress
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from relay import maillog
from relay.crypto import digest
from relay.errors import StoreUnavailable
from relay.store.login_failures import (
    Decide,
    Decision,
    Failures,
    Guess,
    LoginFailures,
    Records,
    Rules,
    count_failure,
    count_unless_waiting,
    recent,
    take_turn,
    wait_s,
)

T = TypeVar("T")

SHARED_WAIT_S = 2.0
MOST_PLACES = 5000
MOST_TRUSTED = 10_000
NAME_CHARS = 16
SUBSCRIBER_BITS = 64


class Memory:
    """What this process knows: the failures by place, and who was let in where. The oldest leave
    first.
    """

    def __init__(self, most_places: int = MOST_PLACES) -> None:
        self._most_places = most_places
        self._places: dict[str, Records] = {}
        self._trusted: dict[tuple[str, str], None] = {}

    def of_place(self, place: str, now: float) -> dict[str, Failures]:
        return recent(self._places.get(place, {}), now)

    def keep(self, place: str, records: Records) -> None:
        self._places.pop(place, None)
        if records:
            self._places[place] = records
        if len(self._places) > self._most_places:
            del self._places[next(iter(self._places))]

    def trusts(self, place: str, name: str) -> bool:
        return (place, name) in self._trusted

    def trust(self, place: str, name: str) -> None:
        self._trusted.pop((place, name), None)
        self._trusted[place, name] = None
        if len(self._trusted) > MOST_TRUSTED:
            del self._trusted[next(iter(self._trusted))]


class Guesses:
    """`shared` is None where this process is the only one."""

    def __init__(
        self,
        rules: Rules,
        now: Callable[[], float],
        shared: LoginFailures | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._rules = rules
        self._now = now
        self._shared = shared
        self._memory = memory or Memory()
        self._is_alone = False

    def of(self, peer_ip: str, kind: str, text: str, *, free_tries: int = 0) -> Guess:
        """Name a try: `kind` keeps apart what is tried at different doors."""
        place, name = place_of(peer_ip), digest(f"{kind}\0{text}")[:NAME_CHARS]
        return Guess(place, name, self._memory.trusts(place, name), free_tries)

    async def turn(self, guess: Guess) -> float | None:
        """Take the next turn; return the wait for it in seconds, None when too many wait."""
        decide = partial(take_turn, guess, self._rules)
        if self._waits_s(guess) > self._rules.longest_wait_s:
            return None
        return (await self._decide(guess, decide, looks_first=True)).wait_s

    async def failed(self, guess: Guess) -> None:
        await self._decide(guess, partial(count_failure, guess, self._rules))

    async def rejected(self, guess: Guess) -> float:
        """Count what failed at a door where nobody is kept waiting. Return 0, or the seconds left
        where the try came too soon; then it is not counted.
        """
        waits_s = self._waits_s(guess)
        if waits_s:
            return waits_s
        decision = await self._decide(guess, partial(count_unless_waiting, guess, self._rules))
        return decision.wait_s or 0.0

    async def passed(self, guess: Guess) -> None:
        """Forgive the name here, and trust it."""
        self._memory.trust(guess.place, guess.name)
        records = self._memory.of_place(guess.place, self._now())
        if records.pop(guess.name, None) is None:
            return
        self._memory.keep(guess.place, records)
        if self._shared is not None:
            await self._answer_of(self._shared.drop(guess.place, guess.name))

    def _waits_s(self, guess: Guess) -> float:
        now = self._now()
        return wait_s(guess, self._rules, self._memory.of_place(guess.place, now), now)

    async def _decide(self, guess: Guess, decide: Decide, *, looks_first: bool = False) -> Decision:
        found = None
        if self._shared is not None:
            work = self._decide_together(self._shared, guess.place, decide, looks_first)
            found = await self._answer_of(work)
        decision, records = found or self._decide_alone(guess.place, decide)
        self._memory.keep(guess.place, records)
        return decision

    async def _decide_together(
        self, shared: LoginFailures, place: str, decide: Decide, looks_first: bool
    ) -> tuple[Decision, Records]:
        """Decide by what all nodes know. To look first spares a write where nothing is to be
        written, as for nearly everybody.
        """
        if looks_first:
            records = await shared.of_place(place)
            decision = decide(records, self._now())
            if not decision.changed:
                return decision, records
        return await shared.decide(place, decide)

    def _decide_alone(self, place: str, decide: Decide) -> tuple[Decision, Records]:
        now = self._now()
        records = self._memory.of_place(place, now)
        decision = decide(records, now)
        return decision, {**records, **decision.changed}

    async def _answer_of(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what the database answers, None when it does not in time; the log has it once."""
        try:
            async with asyncio.timeout(SHARED_WAIT_S):
                answer = await work
        except (StoreUnavailable, TimeoutError) as error:
            if not self._is_alone:
                maillog.failures_not_shared(error)
            self._is_alone = True
            return None
        self._is_alone = False
        return answer


def place_of(peer_ip: str) -> str:
    try:
        address = ipaddress.ip_address(peer_ip.partition("%")[0])
    except ValueError:
        return peer_ip
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, SUBSCRIBER_BITS), strict=False))
