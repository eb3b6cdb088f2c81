"""Receipts of certified mail: kept as they came, told as events, waited for."""

from dataclasses import dataclass
from enum import StrEnum

from relay.formats.pec import Receipt
from relay.store.database import Script


class Found(StrEnum):
    """What became of a receipt."""

    RECORDED = "recorded"
    REPEATED = "repeated"
    "It was recorded before; nothing was written."
    UNKNOWN = "unknown"
    "It is about no message of this tenant; nothing was written."


@dataclass(frozen=True, slots=True)
class Arrived:
    """A receipt from the mailbox of an account. Events are numbered from `first_seq`
    (`spool.next_seq`-like, in microseconds), one for each recipient of the message at most.
    """

    tenant_id: str
    account_id: str
    receipt: Receipt
    raw: bytes
    now: float
    first_seq: int


def record_receipt(arrived: Arrived) -> Script[Found]:
    """Keep a receipt, tell what it says of each recipient, and end the wait for it: once, however
    often it is given.
    """
    raise NotImplementedError
    yield
