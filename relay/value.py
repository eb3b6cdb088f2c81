"""Values that are made for every mail.

A frozen dataclass sets each of its fields by a call, which makes it four times as dear as one that
is not; a mail is made into a dozen of them. So here it is the type checker that keeps them as they
are: to it a value is a frozen dataclass.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class a dataclass with slots that may be a key, and that nobody changes."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
