"""Mail that comes back: which recipients it speaks of, and what became of them."""

from relay.formats.bounce.model import Clues, Kind, Returned, ReturnedRecipient

__all__ = ["Clues", "Kind", "Returned", "ReturnedRecipient"]
