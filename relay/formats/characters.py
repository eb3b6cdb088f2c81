"""Characters that no header field may carry, whatever it is written in.

C0 and C1 (tabulator excepted), U+0085, the Unicode line and paragraph separators, and lone
surrogates: each of them is a line end to some reader (RFC 5322 §2.2, RFC 6532 §3.2) or cannot be
written as UTF-8 at all.
"""

import re

_FORBIDDEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def has_forbidden(text: str) -> bool:
    return _FORBIDDEN.search(text) is not None


def without_forbidden(text: str) -> str:
    return _FORBIDDEN.sub(" ", text)
