"""The dialogue that Postfix sends to its postmaster: lines of `In:` and `Out:`.

It tells of a mail that this host did not take, so what the host said last decides.
"""

import re

from relay.formats.bounce.finding import Finding
from relay.formats.bounce.mailbox import address_in

TURN = re.compile(r"(In|Out):\s{0,4}(.{0,1000})")
RECIPIENTS_LIMIT = 100


def read_dialogue(lines: tuple[str, ...]) -> tuple[Finding, ...]:
    turns = _turns(lines)
    if len({who for who, _ in turns}) < 2:
        return ()
    refusals = [said for who, said in turns if who == "Out" and said[:1] in ("4", "5")]
    asked = [said for who, said in turns if who == "In" and said.upper().startswith("RCPT TO:")]
    addresses = dict.fromkeys(a for said in asked[:RECIPIENTS_LIMIT] if (a := address_in(said[8:])))
    return tuple(Finding(address, diagnostic="\n".join(refusals[:10])) for address in addresses)


def _turns(lines: tuple[str, ...]) -> list[tuple[str, str]]:
    turns: list[tuple[str, str]] = []
    for line in lines:
        if match := TURN.match(line):
            turns.append((match[1], match[2]))
        elif turns and line:
            who, said = turns[-1]
            turns[-1] = who, f"{said} {line}"[:2000]
    return turns
