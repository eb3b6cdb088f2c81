"""Bounces made from forms: what each mailer writes around the reply of the server it met.

`tests/data/bounce_forms` has a mail for each form with `{places}` to fill, and
`tests/data/bounce_replies.txt` what servers say, with the reason that it stands for.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
RECIPIENT = "mike.neko@shop.test"
PLACE = re.compile(r"\{([a-z0-9]+)\}")
CODE = re.compile(r"[ -]*([245]\d\d)\b[ -]?")
STATUS = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")

COMMANDS = {
    "CONN": {
        "command": "initial server greeting",
        "qmail": "Connected to 192.0.2.7 but greeting failed.",
        "state": "9",
        "yahoo": "CONNECT",
        "dma": "greeting",
        "smtp": "CONNECT",
        "gmx": "CONNECT",
        "x6": "connection",
        "x3": "CONNECT",
    },
    "HELO": {
        "command": "EHLO command",
        "qmail": "Connected to 192.0.2.7 but my name was rejected.",
        "state": "12",
        "yahoo": "EHLO",
        "dma": "EHLO",
        "smtp": "EHLO out.sender.test",
        "gmx": "EHLO",
        "x6": "EHLO command",
        "x3": "EHLO",
    },
    "MAIL": {
        "command": "MAIL FROM command",
        "qmail": "Connected to 192.0.2.7 but sender was rejected.",
        "state": "13",
        "yahoo": "MAIL_FROM",
        "dma": "MAIL FROM",
        "smtp": "MAIL From:<nyan@sender.test>",
        "gmx": "MAIL FROM",
        "x6": "MAIL FROM command",
        "x3": "MAIL",
    },
    "RCPT": {
        "command": "RCPT TO command",
        "qmail": "does not like recipient.",
        "state": "14",
        "yahoo": "RCPT_TO",
        "dma": "RCPT TO",
        "smtp": f"RCPT To:<{RECIPIENT}>",
        "gmx": "RCPT TO",
        "x6": "RCPT command",
        "x3": "RCPT",
    },
    "DATA": {
        "command": "end of DATA command",
        "qmail": "failed after I sent the message.",
        "state": "18",
        "yahoo": "BodySent",
        "dma": "final DATA",
        "smtp": ".",
        "gmx": "DATA",
        "x6": "DATA command",
        "x3": "DATA",
    },
}
"How the forms name the command that was answered."


@dataclass(frozen=True, slots=True)
class Said:
    reason: str
    command: str
    reply: str

    @property
    def status_class(self) -> str:
        """That of the status where one was said, else of the reply code."""
        found = STATUS.findall(self.reply) or CODE.findall(self.reply)
        return found[0][0] if found else "5"


def replies() -> Iterator[Said]:
    user, _, domain = RECIPIENT.partition("@")
    for line in (DATA / "bounce_replies.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            reason, command, reply = line.split("|", 2)
            reply = reply.replace("{to}", RECIPIENT).replace("{user}", user)
            yield Said(reason, command, reply.replace("{domain}", domain))


def forms() -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted((DATA / "bounce_forms").glob("*.eml"))}


def filled(form: str, said: Said) -> bytes:
    user, _, domain = RECIPIENT.partition("@")
    code = CODE.match(said.reply)
    status = STATUS.search(said.reply)
    places = {
        **COMMANDS[said.command],
        "to": RECIPIENT,
        "user": user,
        "domain": domain,
        "reply": said.reply,
        "status": status[0] if status else f"{said.status_class}.0.0",
        "code": code[1] if code else "550",
        "rest": said.reply[code.end() :] if code else said.reply,
    }
    return PLACE.sub(lambda place: places[place[1]], form).encode()


def tells_command(form: str) -> bool:
    return any(f"{{{name}}}" in form for name in COMMANDS["RCPT"])
