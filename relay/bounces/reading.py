"""The process that reads strangers' mail: `python -m relay.bounces.reading`.

What a stranger wrote can make a parser take for ever, or all memory. A thread cannot be stopped, a
process can: it has nothing but the mail on its standard input, no settings and no secrets, and a
bound on its memory (see `relay.bounces.reader`, which starts it, waits for it, and ends it).

A question is a number of octets, whether the mail may be a receipt, and the mail; the answer a
number of octets and JSON.
"""

import resource
import struct
import sys
from dataclasses import dataclass
from typing import BinaryIO

from pydantic import TypeAdapter

from relay.formats.bounce import Returned, read_bounce
from relay.formats.pec import Receipt, read_receipt

MEMORY_BYTES = 768 * 1024 * 1024
QUESTION = struct.Struct(">I?")
ANSWER = struct.Struct(">I")
READY = b"+"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a mail is: a receipt of certified mail, or what it says as a bounce, if it is one."""

    receipt: Receipt | None = None
    returned: Returned | None = None


READING = TypeAdapter(Reading)


def read(raw: bytes, *, is_pec: bool) -> Reading:
    receipt = read_receipt(raw) if is_pec else None
    return Reading(receipt=receipt) if receipt else Reading(returned=read_bounce(raw))


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Say that we are there, and answer until there are no more questions."""
    answers.write(READY)
    answers.flush()
    while len(head := questions.read(QUESTION.size)) == QUESTION.size:
        size_bytes, is_pec = QUESTION.unpack(head)
        text = READING.dump_json(read(questions.read(size_bytes), is_pec=is_pec))
        answers.write(ANSWER.pack(len(text)) + text)
        answers.flush()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    serve(sys.stdin.buffer, sys.stdout.buffer)
