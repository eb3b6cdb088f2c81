"""The program `pillarbox-sendmail`: what it is asked, from the command line to its end."""

import os
import pwd
import sys
from email.utils import formatdate, make_msgid
from importlib import import_module
from typing import IO

from cli.sendmail import letter as letters
from cli.sendmail import options as command_line
from cli.sendmail.ending import Ended
from cli.sendmail.letter import Envelope, Letter
from cli.sendmail.options import Mode, Options
from cli.sendmail.settings import Settings, load


def main() -> None:
    """Do what the command line says; what goes wrong is a line on standard error and a code."""
    try:
        run(command_line.read(sys.argv), sys.stdin.buffer, sys.stdout.buffer)
    except Ended as ended:
        print(f"{os.path.basename(sys.argv[0])}: {ended}", file=sys.stderr)
        sys.exit(ended.code)


def run(options: Options, given: IO[bytes], out: IO[bytes]) -> None:
    """Do it, or raise Ended."""
    if options.mode is Mode.NOTHING:
        return
    settings = load(os.environ)
    if options.mode is Mode.DIALOGUE:
        import_module("cli.sendmail.dialogue").converse(settings, given, out)
    elif options.mode is Mode.QUEUE:
        import_module("cli.sendmail.queue").show(settings, out)
    else:
        send(options, settings, given)


def send(options: Options, settings: Settings, given: IO[bytes]) -> None:
    if not options.recipients and not options.reads_recipients:
        raise Ended(os.EX_USAGE, "say to whom, or -t to read it from the mail")
    letter = letters.parse(letters.read(given, dot_ends=options.dot_ends))
    envelope = envelope_of(options, settings, letter)
    content = finished(letter, options, settings).content
    # Each way imports what the other has no use for.
    way = import_module("cli.sendmail.by_smtp" if settings.server else "cli.sendmail.by_socket")
    way.submit(settings, envelope, content)


def envelope_of(options: Options, settings: Settings, letter: Letter) -> Envelope:
    """Return from whom and to whom it goes: addresses that were named, those of -t besides."""
    named = letters.addresses(options.recipients)
    if options.reads_recipients:
        named += letters.recipients_of(letter)
    if not named:
        raise Ended(os.EX_DATAERR, "the mail has no recipient in To, Cc or Bcc")
    sender = options.sender
    if sender is None:
        sender = letters.author_of(letter) or writer(settings)
    return Envelope(
        sender=settings.qualified(sender) if sender else "",
        recipients=tuple(dict.fromkeys(map(settings.qualified, named))),
        notify=options.notify,
        ret=options.ret,
        envid=options.envid,
    )


def finished(letter: Letter, options: Options, settings: Settings) -> Letter:
    """Return the mail as it is given to the relay."""
    author = settings.qualified(options.sender or writer(settings))
    missing = (
        ("From", lambda: letters.mailbox(options.full_name or "", author)),
        ("Message-ID", lambda: make_msgid(domain=settings.host_name)),
        ("Date", lambda: formatdate(localtime=True)),
    )
    letter = letters.qualified(letters.without_bcc(letter), settings.qualified)
    return letters.completed(letter, missing)


def writer(settings: Settings) -> str:
    """Return who writes where the mail does not say: by default, who runs this."""
    return settings.sender or user_name()


def user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container runs under numbers that have no name
        return f"user{os.getuid()}"
