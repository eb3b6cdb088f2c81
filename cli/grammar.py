"""What can be said: `pillarbox COMMAND`, `pillarbox NAME COMMAND`, `pillarbox NAME TENANT COMMAND`.

NAME and TENANT are words of the user's own. A command goes before an instance of its name, so no
instance may be called like one. After `pillarbox use NAME[/TENANT]` the commands of that place
follow `pillarbox` directly.
"""

from collections.abc import Iterable
from importlib import import_module
from typing import Any, NoReturn

import click

from cli.home import Instance, current, instances
from cli.menu import Entry, Menu, did_you_mean
from cli.place import Place, home_of

ROOT = {
    "demo": Entry("cli.demo:demo", "Try it: a relay on this machine that delivers nowhere."),
    "serve": Entry("cli.serve:serve", "Run a node in the foreground."),
    "list": Entry("cli.instances:list_instances", "List the instances of this machine."),
    "start": Entry("cli.instances:start", "Start an instance in the background."),
    "stop": Entry("cli.instances:stop", "Stop an instance, with what it sends finished."),
    "restart": Entry("cli.instances:restart", "Stop and start an instance."),
    "status": Entry("cli.instances:status", "Show whether an instance runs, and how it is."),
    "delete": Entry("cli.instances:delete", "Delete an instance with everything in it."),
    "parse-bounce": Entry("cli.parse_bounce:parse_bounce", "Show what is read in a bounce."),
    "import-genro": Entry("cli.import_genro:import_genro", "Move in from genro-mail-proxy."),
    "use": Entry("cli.using:use", "Stay at an instance, or at a tenant of it."),
    "current": Entry("cli.using:show_current", "Show what is in use."),
    "completion": Entry("cli.completion:completion", "Print what makes the Tab key work."),
}
INSTANCE = {
    "info": Entry("cli.instance_facts:info", "Show what this instance is and how it is."),
    "stats": Entry("cli.instance_facts:stats", "Show what was taken, sent and failed."),
    "tenants": Entry("cli.tenants:tenants", "List, show, add, change and delete tenants."),
    "command-log": Entry("cli.command_log:command_log", "Show who did what through the API."),
    "token": Entry("cli.token:token", "Show the admin token, or make a new one."),
    "run-now": Entry("cli.instance_facts:run_now", "Send and report at once what is due."),
    "config": Entry("cli.configuration:config", "Show and change settings."),
    "check": Entry("cli.check:check", "Look for what is wrong, and say what to do."),
    "backup": Entry("cli.backup:backup", "Copy the embedded database while mail goes on."),
    "drain": Entry("cli.drain:drain", "Take no more mail, and send what is there."),
    "rekey": Entry("cli.rekey:rekey", "Seal all secrets with a new encryption key."),
}
TENANT = {
    "info": Entry("cli.tenant_facts:info", "Show this tenant and its queue."),
    "send": Entry("cli.send:send", "Send finished mails: files, folders, mailboxes."),
    "messages": Entry("cli.messages:messages", "List, show and correct messages."),
    "events": Entry("cli.events:events", "Show what happened, and follow it."),
    "accounts": Entry("cli.accounts:accounts", "The servers that mail leaves by."),
    "credentials": Entry("cli.credentials:credentials", "The SMTP logins of applications."),
    "suppressions": Entry("cli.suppressions:suppressions", "Addresses that are not written to."),
    "run-now": Entry("cli.tenant_facts:run_now", "Send and report at once what is due."),
    "suspend": Entry("cli.tenant_facts:suspend", "Hold back mail, all or a batch."),
    "activate": Entry("cli.tenant_facts:activate", "Let mail go that was suspended."),
}
# A name that is a command now or may become one is no name for an instance.
RESERVED = frozenset({*ROOT, *INSTANCE, *TENANT, "help", "version"})


class RootMenu(Menu):
    others_title = "Instances (pillarbox NAME --help)"

    def other(self, ctx: click.Context, name: str) -> click.Command | None:
        home = home_of(ctx)
        if Instance(home, name).exists:
            return InstanceMenu(Place(home, name))
        return self._in_use(ctx, name)

    def _in_use(self, ctx: click.Context, word: str) -> click.Command | None:
        home = home_of(ctx)
        name, tenant_id = current(home)
        if name is None:
            return None
        place = Place(home, name)
        if tenant_id and word in TENANT:
            ctx.obj = place.of(tenant_id)
            return TENANT[word].load()
        if word in INSTANCE:
            ctx.obj = place
            return INSTANCE[word].load()
        return None

    def others(self, ctx: click.Context) -> Iterable[tuple[str, str]]:
        for instance in instances(home_of(ctx)):
            yield instance.name, "running" if instance.live_sockets() else "stopped"

    def refuse(self, ctx: click.Context, word: str) -> NoReturn:
        hint = self.hint(ctx, word)
        if not hint and (word in INSTANCE or word in TENANT):
            hint = f"; say of which instance: pillarbox NAME {word}"
        ctx.fail(f"{word!r} is neither a command nor an instance of {home_of(ctx)}{hint}")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        name, tenant_id = current(home_of(ctx))
        if name:
            place = f"{name}/{tenant_id}" if tenant_id else name
            formatter.write_paragraph()
            formatter.write_text(f"In use: {place}. Its commands follow pillarbox directly.")
        super().format_epilog(ctx, formatter)


class PlaceMenu(Menu):
    """The commands of one place."""

    def __init__(self, place: Place, entries: dict[str, Entry], **settings: Any) -> None:
        super().__init__(entries, **settings)
        self.place = place

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        return super().make_context(info_name, args, parent, **{**extra, "obj": self.place})


class InstanceMenu(PlaceMenu):
    others_title = "Tenants (TENANT --help)"

    def __init__(self, place: Place) -> None:
        super().__init__(
            place,
            INSTANCE,
            name=place.name,
            subcommand_metavar="COMMAND | TENANT COMMAND",
            help=f"Work on the instance {place.name}, or on one of its tenants.",
        )

    def other(self, _ctx: click.Context, name: str) -> click.Command | None:
        return TenantMenu(self.place.of(name))

    def others(self, _ctx: click.Context) -> Iterable[tuple[str, str]]:
        """Return the tenants where they are known at once: of an instance that runs."""
        if not self.place.instance.live_sockets():
            return []
        names: list[tuple[str, str]] = import_module("cli.names").tenants(self.place)
        return names


class TenantMenu(PlaceMenu):
    def __init__(self, place: Place) -> None:
        super().__init__(
            place,
            TENANT,
            name=place.tenant_id,
            help=f"Work on the tenant {place.tenant_id} of {place.name}.",
        )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Name a tenant that is not there, where that is known at once."""
        known = [name for name, _ in InstanceMenu(self.place).others(ctx)]
        if known and self.place.tenant_id not in known:
            hint = did_you_mean(self.place.tenant_id, known)
            formatter.write_paragraph()
            formatter.write_text(f"{self.place.name} has no tenant {self.place.tenant_id!r}{hint}")
        super().format_epilog(ctx, formatter)

    def refuse(self, ctx: click.Context, word: str) -> NoReturn:
        hint = self.hint(ctx, word)
        meant = did_you_mean(self.place.tenant_id, INSTANCE)
        if meant and not hint:
            ctx.fail(f"{self.place.tenant_id!r} is no command of {self.place.name}{meant}")
        ctx.fail(f"{word!r} is no command for a tenant{hint}")
