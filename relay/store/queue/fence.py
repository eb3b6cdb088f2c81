"""The fence: what a node does counts only while its epoch stands (see `store.nodes`)."""

from relay.errors import Fenced
from relay.store.database import Query, Script

NODE_LIVES = "SELECT epoch FROM nodes WHERE epoch = $1 {key_share}"


def must_live(epoch: int) -> Script[None]:
    """Raise Fenced where this epoch was buried; else it is not until this commits."""
    if not (yield Query(NODE_LIVES, (epoch,))):
        raise Fenced(f"the lease of epoch {epoch} ran out")
