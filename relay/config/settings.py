"""The list of all settings, read off the tree: TOML key, variables, default, explanation.

The documentation, `conf/pillarbox.toml` and the loader all go by this list, so none of them can
forget a key.
"""

from types import MappingProxyType
from typing import NamedTuple, get_args, get_type_hints

from pydantic import SecretStr

from relay.config.explained import explained
from relay.config.tree import Section, Tree

# Names that are shorter than the rule or that existed before; the first is ours, the others are
# aliases.
_NAMED = {
    "database.url": ("PILLARBOX_DB", "GMP_DB_PATH"),
    "http.api_token": ("PILLARBOX_API_TOKEN", "GMP_API_TOKEN"),
    "encryption_key": ("PILLARBOX_ENCRYPTION_KEY", "MAIL_PROXY_ENCRYPTION_KEY"),
    "smtp.tls_listen": ("PILLARBOX_SMTPS_LISTEN",),
    "smtp.tls_cert": ("PILLARBOX_TLS_CERT",),
    "smtp.tls_key": ("PILLARBOX_TLS_KEY",),
    "limits.max_message_bytes": ("PILLARBOX_MAX_MESSAGE_BYTES",),
    "pec.acceptance_timeout_s": (
        "PILLARBOX_PEC_ACCEPTANCE_TIMEOUT_S",
        "GMP_PEC_ACCEPTANCE_TIMEOUT",
    ),
}


class Setting(NamedTuple):
    """One setting. `default` is None where there is none or it is derived; `doc` says which."""

    toml_key: str
    env_names: tuple[str, ...]
    default: object
    is_secret: bool
    section: type[Section]

    @property
    def doc(self) -> str:
        return explained(self.section).get(self.toml_key.rpartition(".")[2], "")


def ruled_name(toml_key: str) -> str:
    """Return the variable that a key has unless it was given another."""
    return "PILLARBOX_" + toml_key.upper().replace(".", "_")


def _section_type(annotation: object) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return None


def _types(section: type[Section], prefix: str) -> dict[str, type[object]]:
    hints = get_type_hints(section, include_extras=True)
    return {prefix + name: hints[name] for name in section.model_fields}


def _all_types() -> dict[str, type[object]]:
    """Return the type of each setting, with the rules it is annotated with."""
    types = _types(Tree, "")
    for name, section in _sections.items():
        types |= _types(section, f"{name}.")
    return {key: types[key] for key in BY_KEY}


def _holds_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in get_args(annotation))


def _settings_of(section: type[Section], prefix: str) -> tuple[Setting, ...]:
    return tuple(
        Setting(
            toml_key=prefix + name,
            env_names=_NAMED.get(prefix + name, (ruled_name(prefix + name),)),
            default=None if field.is_required() else field.default,
            is_secret=_holds_secret(field.rebuild_annotation()),
            section=section,
        )
        for name, field in section.model_fields.items()
        if _section_type(field.annotation) is None
    )


_sections = {
    name: section
    for name, field in Tree.model_fields.items()
    if (section := _section_type(field.annotation)) is not None
}

SECTIONS = tuple(_sections)

SETTINGS: tuple[Setting, ...] = _settings_of(Tree, "") + tuple(
    setting for name, section in _sections.items() for setting in _settings_of(section, f"{name}.")
)

BY_KEY = MappingProxyType({setting.toml_key: setting for setting in SETTINGS})

TYPES = MappingProxyType(_all_types())
