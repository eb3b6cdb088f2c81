"""Who is told by mail what became of a mail (RFC 3461 §5.2), as values.

A sender hears of a failure unless NOTIFY forbids it, of a delay where NOTIFY allows it, of a
hand-over to a server that will not report (`relayed`) only if NOTIFY asked for SUCCESS. Nobody is
told of a mail without a sender, and the tenant's `dsn` says of which mail at all.

Pure: no clock and no I/O.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from relay.formats.dsn import Action, Fate
from relay.model import DsnWish, Ingress, Outcome, Pending, State, Verdict
from relay.store.queue.gates import Gate
from relay.store.queue.settle import Resolution, Settlement

FAILURE, DELAY, SUCCESS = "FAILURE", "DELAY", "SUCCESS"
# RFC 3461 §4.1: without NOTIFY, failures are told of, and delays as the server likes.
BY_DEFAULT = frozenset({FAILURE, DELAY})
NO_REPLY = "4.4.2"
OF_OURS = "5.3.0"


@dataclass(frozen=True, slots=True)
class Case:
    """A mail of whose recipients its sender is to be told together; `deliver_by` is as in
    `Original`.
    """

    pk: str
    id: str
    tenant_id: str
    account_id: str | None
    lane: str
    priority: int
    sender: str
    accepted_at: float
    size_bytes: int
    fates: tuple[Fate, ...]
    ret: str | None = None
    envid: str | None = None
    deliver_by: float | None = None


def is_wanted(wish: DsnWish, ingress: Ingress, *, is_called: bool) -> bool:
    """Say whether a tenant wants its senders told of mail that came in this way."""
    if ingress is Ingress.DSN or wish is DsnWish.NEVER:
        return False
    if wish is DsnWish.ALWAYS:
        return True
    return ingress is Ingress.SMTP and (wish is DsnWish.SMTP or not is_called)


def asked(notify: str | None) -> Collection[str]:
    """Return what a recipient's NOTIFY asks for; nothing for NEVER."""
    return BY_DEFAULT if notify is None else notify.upper().split(",")


def cases(items: Sequence[Settlement], gates: Mapping[str, Gate]) -> list[Case]:
    """Return what is to be told of, one case for each mail."""
    found: dict[str, Case] = {}
    for item in items:
        gate = gates.get(item.delivery.tenant_id)
        if gate is None or not item.may_be_told:
            continue
        if not is_wanted(gate.dsn, item.delivery.ingress, is_called=gate.is_called):
            continue
        fates = fates_of(item)
        if fates:
            pk = item.delivery.pk
            earlier = found[pk].fates if pk in found else ()
            found[pk] = case_of(item, (*earlier, *fates))
    return list(found.values())


def case_of(item: Settlement, fates: tuple[Fate, ...]) -> Case:
    delivery = item.delivery
    return Case(
        pk=delivery.pk,
        id=delivery.id,
        tenant_id=delivery.tenant_id,
        account_id=delivery.account_id,
        lane=delivery.lane,
        priority=delivery.priority,
        sender=delivery.sender,
        accepted_at=delivery.accepted_at,
        size_bytes=delivery.size_bytes,
        fates=fates,
        ret=delivery.ret,
        envid=delivery.envid,
    )


def fates_of(item: Settlement) -> list[Fate]:
    """Return the fates that the sender is to hear of."""
    pendings = {p.n: p for p in item.delivery.pending}
    outcomes = {o.n: o for o in item.outcomes}
    fates = []
    for resolution in item.resolutions:
        pending, outcome = pendings[resolution.n], outcomes.get(resolution.n)
        action = action_of(resolution, outcome, asked(pending.notify))
        if action is not None:
            fates.append(fate_of(item, resolution, pending, outcome, action))
    return fates


def action_of(
    resolution: Resolution, outcome: Outcome | None, wanted: Collection[str]
) -> Action | None:
    if resolution.state is State.FAILED:
        return Action.FAILED if FAILURE in wanted else None
    is_untold = resolution.state is State.SENT and outcome is not None and outcome.is_untold
    return Action.RELAYED if is_untold and SUCCESS in wanted else None


def fate_of(
    item: Settlement,
    resolution: Resolution,
    pending: Pending,
    outcome: Outcome | None,
    action: Action,
) -> Fate:
    fate = Fate(
        address=pending.address,
        action=action,
        status=status_of(resolution, outcome),
        reply=resolution.reply,
        diagnostic=resolution.reply,
        orcpt=pending.orcpt,
    )
    if outcome is None:
        return fate
    is_theirs = outcome.code > 0 and outcome.phase != "relay"
    return replace(
        fate,
        diagnostic=outcome.reply,
        code=outcome.code if is_theirs else 0,
        remote=item.remote if is_theirs else None,
        last_attempt_at=item.ended_at,
    )


def status_of(resolution: Resolution, outcome: Outcome | None) -> str:
    """Return the RFC 3463 code: what was said, else what the reply code or its absence means."""
    if outcome is None:
        return resolution.status or OF_OURS
    if outcome.enhanced is not None:
        return outcome.enhanced
    if outcome.verdict is Verdict.UNKNOWN or not outcome.code:
        return NO_REPLY
    return f"{outcome.code // 100}.0.0"
