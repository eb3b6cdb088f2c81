"""What needs a program that is not installed is skipped, or fails, as in `tests/peers`."""

from tests.peers.conftest import pytest_collection_modifyitems, pytest_runtest_setup

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_setup"]
