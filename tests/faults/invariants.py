"""What must hold after every run: pure questions to the books, answered by what violates them.

I1 no loss, I2 no ghost and no damage, I3 nothing twice without doubt, I4 nobody crosses tenants,
I5 it comes back by itself, I6 our own trouble is temporary, I7 bounded, I8 secrets stay secret.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tests.faults.ledgers import Books, Face, Given, Got, Overheard, Refusal, Reply, Shown

# RFC 5321 §4.2.1: what is only so for now. 454 is of AUTH and STARTTLS (RFC 4954, RFC 3207).
TEMPORARY = {Face.SMTP: {421, 451, 452, 454}, Face.REST: {429, 503, 507}}
WAITING = {"scheduled", "queued", "sending", "deferred", "suspended"}
FAILED = {"failed", "cancelled", "expired"}


@dataclass(frozen=True, slots=True)
class Violation:
    invariant: str
    about: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.about}: {self.what}"


@dataclass(frozen=True, slots=True)
class Bounds:
    """`recovery_s`: until every node takes mail again; `drained_s`: until nothing waits."""

    recovery_s: float = 15.0
    drained_s: float = 60.0
    rss_bytes: int = 400 << 20
    descriptors: int = 500
    probe_p99_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Times:
    """How long it took; None where it was not so in time."""

    recovery_s: float | None
    drained_s: float | None


def violations(books: Books, bounds: Bounds, times: Times) -> list[Violation]:
    """Return all that does not hold."""
    found = [
        *no_loss(books),
        *no_ghost(books),
        *no_damage(books),
        *no_duplicate(books),
        *no_crossing(books),
        *recovered(bounds, times),
        *reply_class(books),
        *bounded(books, bounds),
        *secrecy(books),
    ]
    return sorted(found, key=lambda violation: violation.invariant)


def no_loss(books: Books) -> Iterator[Violation]:
    """I1: accepted means sent, waiting, or failed with an event; shown as sent means it is there.

    What a sink got and the relay does not show as sent is a lie too.
    """
    there = {got.token for got in books.got}
    shown = {entry.token: entry for entry in books.shown}
    for given in books.given:
        if given.reply is Reply.ACCEPTED and not _is_accounted(given, shown, there):
            yield Violation(
                "I1", given.token, f"accepted by {given.face}, and neither sent nor kept"
            )
    for entry in books.shown:
        if entry.status == "sent" and entry.token not in there:
            yield Violation("I1", entry.token, "shown as sent, and no sink got it")
        if entry.status in FAILED and not entry.has_event:
            yield Violation("I1", entry.token, f"{entry.status}, and no event tells of it")


def _is_accounted(given: Given, shown: dict[str, Shown], there: set[str]) -> bool:
    entry = shown.get(given.token)
    if entry is None:
        return False
    if entry.status in WAITING or (entry.status in FAILED and entry.has_event):
        return True
    return given.token in there


def no_ghost(books: Books) -> Iterator[Violation]:
    """I2: what came was given, and was not refused."""
    given = {entry.token: entry for entry in books.given}
    for token in sorted({got.token for got in books.got} | {entry.token for entry in books.shown}):
        if token not in given:
            yield Violation("I2", token or "(no token)", "nobody gave this mail")
        elif given[token].reply is Reply.REFUSED:
            yield Violation(
                "I2", token, f"refused with {given[token].code}, and taken all the same"
            )


def no_damage(books: Books) -> Iterator[Violation]:
    """I2: the bytes that came are those that were given."""
    given = {entry.token: entry for entry in books.given}
    for got in books.got:
        entry = given.get(got.token)
        if entry and entry.digest != (got.whole if entry.face is Face.SMTP else got.body):
            yield Violation("I2", got.token, f"given by {entry.face}, and came with other bytes")


def no_duplicate(books: Books) -> Iterator[Violation]:
    """I3: each copy beyond the first stands behind an attempt whose end nobody saw, and says so.
    What was accepted once is stored once.
    """
    shown = {entry.token: entry for entry in books.shown}
    for (token, recipient), count in books.copies().items():
        entry = shown.get(token)
        doubts = (entry.unknown or 0) if entry else 0
        if count > 1 + doubts:
            yield Violation("I3", token, f"{recipient} got it {count} times with {doubts} in doubt")
        elif count > 1 and entry and not entry.is_flagged:
            yield Violation("I3", token, "sent twice, and no event says possible_duplicate")
    for token, count in Counter(entry.token for entry in books.shown).items():
        if count > 1:
            yield Violation("I3", token, f"stored {count} times")


def no_crossing(books: Books) -> Iterator[Violation]:
    """I4: no tenant's mail, nor its word, is seen by another."""
    owner = {entry.token: entry.tenant_id for entry in books.given}
    seen: tuple[Got | Shown, ...] = (*books.got, *books.shown)
    for entry in seen:
        whose = owner.get(entry.token, entry.tenant_id)
        if whose != entry.tenant_id:
            yield Violation("I4", entry.token, f"{whose}'s, and {entry.tenant_id} has it")
    for got in books.got:
        if got.strangers:
            yield Violation("I4", got.token, f"has words of {', '.join(got.strangers)} in it")
    for text in books.overheard:
        yield from _foreign_words(text, books.canaries)


def _foreign_words(text: Overheard, canaries: tuple[tuple[str, str], ...]) -> Iterator[Violation]:
    for tenant_id, word in canaries:
        if text.tenant_id not in (None, tenant_id) and word in text.text:
            yield Violation("I4", text.where, f"shows {tenant_id}'s word to {text.tenant_id}")


def recovered(bounds: Bounds, times: Times) -> Iterator[Violation]:
    """I5: once the fault is over, mail is taken again and everything drains, without hands."""
    if times.recovery_s is None or times.recovery_s > bounds.recovery_s:
        yield Violation(
            "I5", "recovery", f"{_seconds(times.recovery_s)} until mail was taken again"
        )
    if times.drained_s is None or times.drained_s > bounds.drained_s:
        yield Violation("I5", "drain", f"{_seconds(times.drained_s)} until nothing waited")


def _seconds(value: float | None) -> str:
    return "for ever" if value is None else f"{value:.1f} s"


def reply_class(books: Books) -> Iterator[Violation]:
    """I6: no trouble of ours is answered as if it were the client's fault."""
    for refusal in books.refusals:
        if refusal.code not in TEMPORARY[refusal.face]:
            yield Violation("I6", refusal.face, _answered(refusal))


def _answered(refusal: Refusal) -> str:
    return f"answered {refusal.code} {refusal.text[:120]}"


def bounded(books: Books, bounds: Bounds) -> Iterator[Violation]:
    """I7: memory, descriptors and the answer to a probe stay within their bounds on every node."""
    for node in sorted({look.node for look in books.health}):
        looks = [look for look in books.health if look.node == node]
        rss = max(look.rss_bytes for look in looks)
        descriptors = max(look.descriptors for look in looks)
        latencies = sorted(look.latency_s for look in looks if look.latency_s is not None)
        p99_s = latencies[int(len(latencies) * 0.99)] if latencies else 0.0
        if rss > bounds.rss_bytes:
            yield Violation("I7", f"node {node}", f"{rss >> 20} MiB of memory")
        if descriptors > bounds.descriptors:
            yield Violation("I7", f"node {node}", f"{descriptors} descriptors")
        if p99_s > bounds.probe_p99_s:
            yield Violation("I7", f"node {node}", f"/health took {p99_s:.2f} s (p99)")


def secrecy(books: Books) -> Iterator[Violation]:
    """I8: no secret stands in a reply, no secret and no content in a log."""
    for text in books.overheard:
        hidden = books.planted if text.tenant_id else books.planted + books.canaries
        for name, secret in hidden:
            if secret in text.text:
                yield Violation("I8", text.where, f"shows {name}")
