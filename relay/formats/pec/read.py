"""Reading a receipt."""

from relay.formats.pec.model import Receipt


def read_receipt(raw: bytes) -> Receipt | None:
    """Return what a receipt says; None for any other mail."""
