"""The process that reads strangers' mail: `python -m relay.bounces.reading`.

What a stranger wrote can make a parser take for ever, or all memory. A thread cannot be stopped, a
process can: it has nothing but the mail on its standard input, no settings and no secrets, and a
bound on its memory (see `relay.bounces.reader`, which starts it, waits for it, and ends it).
"""

import resource
import sys
from typing import BinaryIO

from relay.bounces.question import ANSWER, QUESTION, READING, READY, Reading
from relay.formats.bounce.read import read_bounce
from relay.formats.pec.read import read_receipt

MEMORY_BYTES = 768 * 1024 * 1024


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
