"""The commands of a mail submission (RFC 5321, RFC 6409) and what each of them allows next.

Promises: no mail without a login that still holds (RFC 4954 §6, asked anew at each MAIL); no AUTH
in clear where the endpoint forbids it; 250 to the final dot only for what is committed and synced;
after STARTTLS nothing said before counts (RFC 3207 §4.2); EHLO offers exactly what works now.
"""

from dataclasses import dataclass, field
from typing import NoReturn

from relay import maillog
from relay.errors import Refused, Temporary, TooManyGuesses
from relay.formats.address import sender_allowed
from relay.ingress.accept import Door
from relay.ingress.auth import AsOf, Authenticator, Login
from relay.ingress.smtp import sasl, wishes
from relay.ingress.smtp.connection import Connection
from relay.ingress.smtp.connections import Connections
from relay.ingress.smtp.content import Pace, Taken, plain, read_content, too_large
from relay.ingress.smtp.parameters import MailFrom, mail_from, rcpt_to
from relay.ingress.smtp.receiving import Receiving, Share
from relay.ingress.smtp.replies import Hangup, bad_sequence, bad_syntax, no_longer_valid, reply_for
from relay.ingress.smtp.settings import Endpoint, SmtpSettings
from relay.ingress.smtp.tls import Certificates
from relay.ingress.submission import Origin, Repair, Submission
from relay.metrics import Metrics
from relay.model import Credential, Ingress, Recipient

HANDSHAKE_S = 30.0
# Many clients name all recipients and give the mail again to those that were too many.
MOST_EXCESS = 10_000
MECHANISMS = ("PLAIN", "LOGIN")
OLD_TLS = frozenset({"TLSv1", "TLSv1.1"})


@dataclass(frozen=True, slots=True)
class Services:
    """What every session of a node uses."""

    door: Door
    authenticator: Authenticator
    metrics: Metrics
    settings: SmtpSettings
    connections: Connections
    certificates: Certificates | None
    receiving: Receiving


@dataclass(slots=True)
class Transaction:
    """A mail under way: who sends it, what MAIL said, the recipients so far, and what was put right
    in what the client said. `excess` counts the recipients that were too many.
    """

    login: Login
    given: MailFrom
    recipients: dict[str, Recipient] = field(default_factory=dict)
    repairs: set[Repair] = field(default_factory=set)
    excess: int = 0


class Session(Connection):
    def __init__(
        self, services: Services, endpoint: Endpoint, source_ip: str | None = None
    ) -> None:
        super().__init__(services.settings, endpoint, services.connections, source_ip)
        self._services = services
        self._helo: str | None = None
        self._is_extended = False
        self._login: Login | None = None
        self._login_as_of: AsOf | None = None
        self._auth_failures = 0
        self._mails = 0
        self._mail: Transaction | None = None

    # Who is there.

    async def smtp_EHLO(self, argument: str) -> None:
        self._greet(argument, is_extended=True)
        *lines, last = [self.settings.host_name, *self._extensions()]
        between = "\r\n250-".join(lines)
        self.reply(f"250-{between}\r\n250 {last}")

    async def smtp_HELO(self, argument: str) -> None:
        self._greet(argument, is_extended=False)
        self.reply(f"250 {self.settings.host_name}")

    def _greet(self, name: str, *, is_extended: bool) -> None:
        """Greet the nameless too: only at MAIL is it known whether the login may be one."""
        self._check_synchronized()
        self._helo = name
        self._is_extended = is_extended
        self._mail = None

    def _extensions(self) -> list[str]:
        offered = [
            f"SIZE {self.settings.max_message_bytes}",
            "8BITMIME",
            "SMTPUTF8",
            "PIPELINING",
            "ENHANCEDSTATUSCODES",
            "DSN",
            *wishes.offered(self._services.door.now()),
        ]
        if self._services.certificates and not self.is_tls:
            offered.append("STARTTLS")
        if self._login is None and not self._needs_tls:
            offered.append(f"AUTH {' '.join(MECHANISMS)}")
        return offered

    @property
    def _needs_tls(self) -> bool:
        return self.endpoint.require_tls and not self.is_tls

    async def smtp_STARTTLS(self, argument: str) -> None:
        if argument:
            raise bad_syntax("STARTTLS takes no argument")
        if self.is_tls:
            raise bad_sequence("TLS is on already")
        certificates = self._services.certificates
        if certificates is None:
            raise Refused("TLS is not available", code=502, enhanced="5.5.1")
        self.reply("220 2.0.0 Ready to start TLS")
        await self.flush()
        await self.start_tls(certificates.context(self.endpoint), HANDSHAKE_S)
        self._helo = None
        self._login = None
        self._mail = None

    async def smtp_AUTH(self, argument: str) -> None:
        self._check_may_auth()
        mechanism, _, initial = argument.partition(" ")
        if not mechanism:
            raise bad_syntax("AUTH needs the name of a mechanism")
        if mechanism.upper() not in MECHANISMS:
            raise Refused("This mechanism is not known here", code=504, enhanced="5.5.4")
        ask = self._ask_plain if mechanism.upper() == "PLAIN" else self._ask_login
        said = await ask(initial.strip())
        try:
            login = await self._services.authenticator.login(*said, self.peer_ip) if said else None
        except TooManyGuesses as error:
            self._count_failure(said[0] if said else "")
            raise Hangup(
                "421 4.7.0 Too many failed logins from your address, try again later"
            ) from error
        except Temporary as error:
            # RFC 4954 §6 has a code of its own for it.
            self.fail(error, "454 4.7.0 Temporary authentication failure")
            return
        if login is None:
            self._auth_failed(said[0] if said else "")
        self._login = login
        self.reply("235 2.7.0 Authentication successful")

    def _check_may_auth(self) -> None:
        if self._helo is None or not self._is_extended:
            raise bad_sequence("Send EHLO first")
        if self._needs_tls:
            raise Refused("Encryption is required, use STARTTLS", code=538, enhanced="5.7.11")
        if self._login is not None:
            raise bad_sequence("You are logged in already")
        if self._mail is not None:
            raise bad_sequence("Not in the middle of a mail")

    async def _ask_plain(self, initial: str) -> tuple[str, str] | None:
        return sasl.plain(sasl.decoded(initial.encode()) if initial else await self._ask(""))

    async def _ask_login(self, initial: str) -> tuple[str, str]:
        name = sasl.decoded(initial.encode()) if initial else await self._ask(sasl.ASK_USERNAME)
        return sasl.text(name), sasl.text(await self._ask(sasl.ASK_PASSWORD))

    async def _ask(self, prompt: str) -> bytes:
        self.reply(f"334 {prompt}")
        try:
            line = await self.read_line()
        except Refused:
            raise sasl.too_long() from None
        return sasl.decoded(line)

    def _auth_failed(self, username: str) -> NoReturn:
        self._count_failure(username)
        self._auth_failures += 1
        failed = Refused("Authentication credentials invalid", code=535, enhanced="5.7.8")
        if self._auth_failures < self.settings.max_auth_failures:
            raise failed
        self.reply(reply_for(failed))
        raise Hangup("421 4.7.0 Too many failed logins")

    def _count_failure(self, username: str) -> None:
        self._services.metrics.auth_failed()
        maillog.auth_failed(self.peer_ip, username)

    # What is sent.

    async def smtp_MAIL(self, argument: str) -> None:
        if self._helo is None:
            raise bad_sequence("Send EHLO first")
        login = await self._entitled()
        if self._mail is not None:
            raise bad_sequence("One mail at a time")
        repairs = self._repaired_greeting(login.credential)
        given = mail_from(argument, is_legacy=login.credential.legacy)
        if given.size_bytes > self.settings.max_message_bytes:
            raise too_large()
        if given.wishes is not wishes.NOTHING:
            given.wishes.check(self._services.door.now())
        self._check_sender(given.sender, login.credential)
        self._check_room(given.size_bytes, login.credential.tenant_id)
        self._mail = Transaction(login, given, repairs=repairs.union(given.repairs))
        self.reply("250 2.1.0 Ok")

    async def _entitled(self) -> Login:
        """Return who sends. Asked anew: rights change, and a login may be revoked, while a session
        is open.
        """
        authenticator = self._services.authenticator
        if self._login is None:
            return await authenticator.by_network(self.peer_ip) or self._ask_for_login()
        as_of = authenticator.as_of()
        if as_of != self._login_as_of:
            login = await authenticator.current(self._login)
            if login is None:
                raise no_longer_valid()
            self._login, self._login_as_of = login, as_of
        return self._login

    def _ask_for_login(self) -> NoReturn:
        advice = "Use STARTTLS, then AUTH" if self._needs_tls else "Authentication required"
        raise Refused(advice, code=530, enhanced="5.7.0")

    def _repaired_greeting(self, credential: Credential) -> set[Repair]:
        """Return what was wrong until here. Raises Refused where the login may not be so."""
        repairs = set()
        if not self._helo:
            if not credential.legacy:
                raise bad_syntax("Say your name in EHLO")
            repairs.add(Repair.NO_HELO_NAME)
        if self.endpoint.old_tls and self.is_tls and self.tls_version in OLD_TLS:
            repairs.add(Repair.OLD_TLS)
        return repairs

    def _check_room(self, size_bytes: int, tenant_id: str) -> None:
        """Raise what is known to stand against the mail before its content is sent."""
        most = self.settings.max_messages
        if most and self._mails >= most:
            raise Hangup("421 4.7.0 Enough mail for one connection, come again")
        self._services.receiving.check(size_bytes)
        self._services.door.check_room(tenant_id)

    def _check_sender(self, sender: str, credential: Credential) -> None:
        # The null sender is for bounces; whom the mail is from in its header, the door looks at.
        if sender and not sender_allowed(sender, credential.senders):
            text = f"This login may not send as <{sender}>"
            maillog.refused(
                tenant=credential.tenant_id,
                ingress=Ingress.SMTP,
                peer=self.peer_ip,
                reason=text,
                code=550,
            )
            raise Refused(text, reason="sender not allowed", code=550, enhanced="5.7.1")

    async def smtp_RCPT(self, argument: str) -> None:
        if self._mail is None:
            raise bad_sequence("Send MAIL first")
        mail = self._mail
        is_legacy = mail.login.credential.legacy
        given = rcpt_to(argument, smtputf8=mail.given.smtputf8, is_legacy=is_legacy)
        if await self._refuses_suppressed(given.address):
            return
        mail.repairs.update(given.repairs)
        recipients = mail.recipients
        if given.address not in recipients:
            n = len(recipients)
            if mail.excess < MOST_EXCESS:
                self.forgive_command()
            if n >= self.settings.max_recipients:
                mail.excess += 1
                raise Refused("Too many recipients", code=452, enhanced="4.5.3")
            recipients[given.address] = Recipient(n, given.address, given.notify, given.orcpt)
        self.reply("250 2.1.5 Ok")

    async def _refuses_suppressed(self, address: str) -> bool:
        """Say no to an address that is not written to. It is no error that the client is blamed
        for.
        """
        if self._mail is None or self.settings.takes_suppressed:
            return False
        try:
            tenant_id = self._mail.login.credential.tenant_id
            await self._services.door.check_recipient(tenant_id, address)
        except Refused as refused:
            self.reply(reply_for(refused))
            return True
        return False

    async def smtp_DATA(self, argument: str) -> None:
        mail = self._mail
        if mail is None or not mail.recipients:
            raise bad_sequence("Send MAIL and RCPT first")
        if argument:
            raise bad_syntax("DATA takes no argument")
        self._check_synchronized()
        self.reply("354 End data with <CR><LF>.<CR><LF>")
        await self.flush()
        try:
            with Share(self._services.receiving) as share:
                taken = await read_content(self.inbox, self._pace(), share)
                mail.login = await self._still_entitled(mail.login)
                submission = await self._submission(mail, taken)
                accepted = await self.uncut(self._services.door.accept(submission))
        finally:
            self._mail = None
        self._mails += 1
        self.has_brought_mail()
        self.reply(f"250 2.0.0 Ok: queued as {accepted.pk}")

    async def _still_entitled(self, then: Login) -> Login:
        """Return the sender as it is now: content takes its time, and rights are lost at once."""
        now = await self._entitled()
        is_same_user = now.credential.username == then.credential.username
        if not is_same_user or now.credential.tenant_id != then.credential.tenant_id:
            raise no_longer_valid()
        return now

    def _pace(self) -> Pace:
        return Pace(
            max_bytes=self.settings.max_message_bytes,
            idle_s=self.settings.idle_timeout_s,
            min_rate_bytes_s=self.settings.min_rate_bytes_s,
            grace_s=self.settings.min_rate_grace_s,
            ends_at=self.ends_at,
        )

    async def _submission(self, mail: Transaction, taken: Taken) -> Submission:
        credential, asked = mail.login.credential, mail.given.wishes
        now = self._services.door.now()
        whole = await plain(taken, repair_line_ends=credential.legacy)
        if whole.is_repaired:
            mail.repairs.add(Repair.BARE_LF)
        return Submission(
            tenant_id=credential.tenant_id,
            sender=mail.given.sender,
            recipients=tuple(mail.recipients.values()),
            content=whole.content,
            is_dotless=whole.is_dotless,
            ingress=Ingress.SMTP,
            origin=Origin(self._protocol(mail), self._helo, self.peer_ip, asked.level),
            credential=credential,
            account_id=mail.login.account_id,
            ret=mail.given.ret,
            envid=mail.given.envid,
            takes_suppressed=self.settings.takes_suppressed,
            priority=asked.priority,
            due_at=asked.release_at(now),
            expires_in_s=asked.expires_in_s,
            late_at=asked.late_at(now),
            repairs=tuple(sorted(mail.repairs)) if mail.repairs else (),
        )

    def _protocol(self, mail: Transaction) -> str:
        """Name the protocol as Received does (RFC 3848, RFC 6531 §4.3)."""
        if not self._is_extended:
            return "SMTP"
        name = "UTF8SMTP" if mail.given.smtputf8 else "ESMTP"
        return f"{name}{'S' if self.is_tls else ''}{'' if mail.login.by_network else 'A'}"

    def _check_synchronized(self) -> None:
        """Hang up on a client that does not wait where it must (RFC 2920 §3.1).

        It talks without listening, as those do who make another program send mail to us.
        """
        if not self.inbox.is_empty:
            raise Hangup("554 5.5.0 Protocol error: you have to wait for this reply")

    # The rest.

    async def smtp_RSET(self, argument: str) -> None:
        if argument:
            raise bad_syntax("RSET takes no argument")
        self._mail = None
        self.reply("250 2.0.0 Ok")

    async def smtp_NOOP(self, _argument: str) -> None:
        self.reply("250 2.0.0 Ok")

    async def smtp_HELP(self, _argument: str) -> None:
        self.reply("214 2.0.0 See RFC 5321")

    async def smtp_VRFY(self, _argument: str) -> None:
        raise Refused("We do not tell whom we know", code=502, enhanced="5.5.1")

    async def smtp_EXPN(self, _argument: str) -> None:
        raise Refused("We do not tell whom we know", code=502, enhanced="5.5.1")

    async def smtp_QUIT(self, _argument: str) -> None:
        raise Hangup("221 2.0.0 Bye")
