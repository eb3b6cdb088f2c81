"""Receipts of certified mail (PEC, Posta Elettronica Certificata), read without trusting them."""

from relay.formats.pec.model import PecEvent, Receipt, ReceiptKind
from relay.formats.pec.read import read_receipt

__all__ = ["PecEvent", "Receipt", "ReceiptKind", "read_receipt"]
