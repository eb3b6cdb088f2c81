"""Receipts of certified mail (PEC)."""

from admin_api.schemas.model import Model, Ok


class ReceiptRecord(Model):
    n: int
    """Its number in the message, to download it by."""
    receipt_type: str
    """accettazione, non-accettazione, presa-in-carico, avvenuta-consegna, errore-consegna,
    preavviso-errore-consegna or rilevazione-virus."""
    ts: int
    """When it was certified."""
    received_ts: int
    account_id: str
    recipients: list[str]
    """Whom it speaks of; nobody named means all."""
    error: str | None
    detail: str | None
    provider: str | None
    provider_id: str | None
    """What the provider calls the transmission."""
    size_bytes: int


class Receipts(Ok):
    receipts: list[ReceiptRecord]
