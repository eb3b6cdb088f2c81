"""What a command line names: the home, an instance of it, a tenant of that."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from cli.failure import Failure
from cli.home import Instance, default_home, instances
from cli.menu import did_you_mean


@dataclass(frozen=True, slots=True)
class Place:
    """`name` and `tenant_id` are "" where a command is not about one."""

    home: Path
    name: str = ""
    tenant_id: str = ""

    @property
    def instance(self) -> Instance:
        return Instance(self.home, self.name)

    def of(self, tenant_id: str) -> "Place":
        return replace(self, tenant_id=tenant_id)

    def __str__(self) -> str:
        return f"{self.name}/{self.tenant_id}" if self.tenant_id else self.name


def home_of(ctx: click.Context) -> Path:
    """Return the home that a command line names, at whatever depth it is asked."""
    given: Path | None = ctx.find_root().params.get("home")
    return given or default_home()


class ExistingInstance(click.ParamType[Instance]):
    name = "name"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Instance:
        if isinstance(value, Instance):
            return value
        home = home_of(ctx) if ctx else default_home()
        instance = Instance(home, str(value))
        if not instance.exists:
            known = [each.name for each in instances(home)]
            raise Failure(f"there is no instance {value!r} in {home}{did_you_mean(value, known)}")
        return instance

    def shell_complete(
        self, ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = instances(home_of(ctx))
        return [CompletionItem(each.name) for each in found if each.name.startswith(incomplete)]
