"""What a file is called when it is downloaded: Content-Disposition in HTTP (RFC 6266, RFC 8187)."""

import re
from urllib.parse import quote

_UNFIT = re.compile(r"[^ !#$&+\-.0-9A-Z^_`a-z{}~()\[\],;=@]")
_ATTR_CHARS = "!#$&+-.^_`|~"  # RFC 8187 §3.2.1


def attachment_disposition(name: str) -> str:
    """Return the header's value, in ASCII: to be saved, never shown, under this name."""
    plain = _UNFIT.sub("_", name)
    value = f'attachment; filename="{plain}"'
    if plain == name:
        return value
    coded = quote(name.encode("utf-8", "replace"), safe=_ATTR_CHARS)
    return f"{value}; filename*=UTF-8''{coded}"
