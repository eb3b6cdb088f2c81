"""Dataclasses that are frozen for the type checker, which costs nothing while the program runs.

A frozen dataclass sets each field by a call of `object.__setattr__`: seven times the cost of an
assignment, for each of the some two hundred fields of the values that a mail is on its way. That
was a tenth of all a mail costs. mypy refuses to assign to them all the same, before anything runs;
they are equal and hashed as before.
"""

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen=False, eq=True, **others):
        """As the standard library's, but for what assigning to a frozen one does."""
        return dataclasses.dataclass(eq=eq, unsafe_hash=frozen and eq, **others)
