"""Mail that comes back: which recipients it speaks of, and what became of them."""

from relay.formats.bounce.model import Clues, Kind, Returned, ReturnedRecipient
from relay.formats.bounce.read import read_bounce

__all__ = ["Clues", "Kind", "Returned", "ReturnedRecipient", "read_bounce"]
