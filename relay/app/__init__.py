"""A node of Pillarbox, whole."""

from relay.app.node import Node

__all__ = ["Node"]
