"""When to try again, and what an attempt makes of a recipient.

The wait grows with each attempt and stops growing at the last step. RFC 5321 §4.5.4.1 asks for 30
minutes between attempts and 4 to 5 days before giving up. We keep the second and start sooner than
the first: most greylisting ends within five minutes.

Pure: no clock, no I/O, no chance. The caller brings the time and the spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from relay.model import Delivery, OnUnknown, Outcome, Pending, State, Verdict
from relay.store.queue.settle import Resolution

DIED = "the relay stopped while it was sending this"
# RFC 3463 §3.4: other or undefined mail system status.
FAULT = "5.3.0"
_ENDS = {Verdict.SENT: State.SENT, Verdict.FAILED: State.FAILED}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`waits_s` after each attempt, the last again and again; each ±`jitter` of itself; not past
    `lifetime_s`. `most_faults` of our own in a row end a mail.
    """

    waits_s: tuple[float, ...]
    jitter: float
    lifetime_s: float
    most_faults: int = 5

    def wait_s(self, attempts: int, spread: float) -> float:
        """Return how long to wait after so many attempts, at least 1."""
        wait_s = self.waits_s[min(attempts, len(self.waits_s)) - 1]
        return wait_s * (1 + self.jitter * spread)


def expires_at(policy: RetryPolicy, delivery: Delivery) -> float:
    """Return when a mail is given up (Unix seconds)."""
    return (
        delivery.accepted_at + policy.lifetime_s
        if delivery.expires_at is None
        else delivery.expires_at
    )


def next_attempt(
    policy: RetryPolicy, delivery: Delivery, attempts: int, now: float, spread: float
) -> float | None:
    """Return when to try again (Unix seconds), or None to give up.

    `attempts` counts those already made, so it is at least 1; `spread` is between -1 and 1.
    """
    if delivery.max_attempts is not None and attempts >= delivery.max_attempts:
        return None
    due_at = now + policy.wait_s(attempts, spread)
    return due_at if due_at < expires_at(policy, delivery) else None


def resolve(
    policy: RetryPolicy, delivery: Delivery, outcomes: Sequence[Outcome], now: float, spread: float
) -> tuple[Resolution, ...]:
    """Decide what the outcomes mean for the recipients; there is one for each, in their order."""
    resolutions = []
    for pending, outcome in zip(delivery.pending, outcomes, strict=True):
        state = _ENDS.get(outcome.verdict)
        if state is not None:
            said = end(pending, state, outcome, pending.attempts + 1, now)
        else:
            said = _left(policy, delivery, (pending, outcome), now, spread)
        resolutions.append(said)
    return tuple(resolutions)


def _left(
    policy: RetryPolicy,
    delivery: Delivery,
    tried: tuple[Pending, Outcome],
    now: float,
    spread: float,
) -> Resolution:
    """Decide about one who was neither taken nor refused."""
    pending, outcome = tried
    attempts = pending.attempts + 1
    unknowns = pending.unknowns + (outcome.verdict is Verdict.UNKNOWN)
    if outcome.verdict is Verdict.UNKNOWN and delivery.on_unknown is OnUnknown.REPORT:
        reply = f"it is not known whether this was delivered: {outcome.reply}"
        return Resolution(pending.n, State.FAILED, attempts, unknowns, now, outcome.code, reply)
    due_at = next_attempt(policy, delivery, attempts, now, spread)
    if due_at is None:
        reply = f"given up after {counted(attempts)}: {outcome.reply}"
        return Resolution(pending.n, State.FAILED, attempts, unknowns, now, outcome.code, reply)
    return Resolution(
        pending.n, State.DEFERRED, attempts, unknowns, due_at, outcome.code, outcome.reply
    )


def end(pending: Pending, state: State, outcome: Outcome, attempts: int, now: float) -> Resolution:
    return Resolution(
        pending.n, state, attempts, pending.unknowns, now, outcome.code, outcome.reply
    )


def counted(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


def without_attempt(
    delivery: Delivery, reply: str, status: str, now: float
) -> tuple[Resolution, ...]:
    """Fail every recipient for a reason that no upstream gave: the mail expired, or its account's
    limit rejects it. `status` is the RFC 3463 code of the reason.
    """
    return tuple(
        Resolution(p.n, State.FAILED, p.attempts, p.unknowns, now, 0, reply, status=status)
        for p in delivery.pending
    )


def after_crash(policy: RetryPolicy, delivery: Delivery, now: float) -> tuple[Resolution, ...]:
    """Resolve what a dead node had begun: it may have been sent.

    The first time it is due at once, since the upstream's connection died with the node. A mail
    that was begun at several deaths may be their cause: then it waits as after any attempt.
    """
    resolutions = resolve(policy, delivery, lost(delivery, DIED), now, 0)
    return tuple(
        _after_death(policy, resolution, pending.faults, now)
        for resolution, pending in zip(resolutions, delivery.pending, strict=True)
    )


def _after_death(
    policy: RetryPolicy, resolution: Resolution, faults: int, now: float
) -> Resolution:
    if resolution.state is not State.DEFERRED:
        return resolution
    if faults >= policy.most_faults:
        return _put_aside(resolution, DIED, faults, now)
    due_at = now if resolution.unknowns == 1 else resolution.due_at
    return replace(resolution, due_at=due_at, faults=faults)


def most_faults(delivery: Delivery) -> int:
    """Return how often in a row the relay failed at it, or died with it."""
    most = 0
    for pending in delivery.pending:
        if pending.faults > most:
            most = pending.faults
    return most


def after_fault(
    policy: RetryPolicy, delivery: Delivery, outcomes: Sequence[Outcome], now: float, spread: float
) -> tuple[Resolution, ...]:
    """Resolve an attempt that our own code failed at: it is tried again, up to `most_faults` times
    in a row. No time of the mail is read here: it may be what is wrong.
    """
    return tuple(
        _after_one_more(policy, pending, outcome, now, spread)
        for pending, outcome in zip(delivery.pending, outcomes, strict=True)
    )


def _after_one_more(
    policy: RetryPolicy, pending: Pending, outcome: Outcome, now: float, spread: float
) -> Resolution:
    faults, unknowns = pending.faults + 1, pending.unknowns + (outcome.verdict is Verdict.UNKNOWN)
    due_at = now + policy.wait_s(faults, spread)
    waits = Resolution(
        pending.n, State.DEFERRED, pending.attempts + 1, unknowns, due_at, 0, outcome.reply
    )
    if faults >= policy.most_faults:
        return _put_aside(waits, outcome.reply, faults, now)
    return replace(waits, faults=faults)


def _put_aside(resolution: Resolution, reason: str, faults: int, now: float) -> Resolution:
    reply = f"put aside after {faults} faults: {reason}"
    return replace(
        resolution, state=State.FAILED, due_at=now, code=0, reply=reply, status=FAULT, faults=faults
    )


def lost(delivery: Delivery, reply: str) -> tuple[Outcome, ...]:
    """Return the outcome of an attempt whose end nobody saw."""
    return tuple(Outcome(p.n, Verdict.UNKNOWN, 0, None, reply, "dot") for p in delivery.pending)
