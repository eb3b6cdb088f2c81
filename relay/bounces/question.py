"""What the process that reads mail is asked (`relay.bounces.reading`), and what it answers.

A question is a number of octets, whether the mail may be a receipt, and the mail; the answer a
number of octets and JSON. The readers themselves stay in that process.
"""

import struct
from dataclasses import dataclass

from pydantic import TypeAdapter

from relay.formats.bounce.model import Returned
from relay.formats.pec.model import Receipt

QUESTION = struct.Struct(">I?")
ANSWER = struct.Struct(">I")
READY = b"+"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a mail is: a receipt of certified mail, or what it says as a bounce, if it is one."""

    receipt: Receipt | None = None
    returned: Returned | None = None


READING = TypeAdapter(Reading)
