"""The parts of a mail as they stand in its bytes: found, read in pieces, taken out for a link.

tree: where each part is. decoding: its bytes, piece by piece. removal: the mail without some of
its parts and with links to them, all else byte for byte as it was.
"""

from relay.formats.parts.decoding import Undecodable, decoded_pieces
from relay.formats.parts.removal import with_links
from relay.formats.parts.tree import Leaf, Tree, read_tree

__all__ = ["Leaf", "Tree", "Undecodable", "decoded_pieces", "read_tree", "with_links"]
