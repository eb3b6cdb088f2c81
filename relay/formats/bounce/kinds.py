"""Which kind each reason is of."""

from relay.formats.bounce.model import Kind

HARD = frozenset({"userunknown", "hostunknown", "hasmoved", "notaccept"})
BLOCK = frozenset(
    {
        "authfailure",
        "badreputation",
        "blocked",
        "contenterror",
        "failedstarttls",
        "norelaying",
        "notcompliantrfc",
        "policyviolation",
        "rejected",
        "requireptr",
        "securityerror",
        "spamdetected",
        "suppressed",
        "virusdetected",
    }
)
NONE = frozenset({"delivered", "feedback", "vacation"})
NO_FAILURE = frozenset({"delayed", "delivered", "relayed", "expanded"})
WORST_FIRST = (Kind.HARD, Kind.BLOCK, Kind.SOFT, Kind.NONE)


def kind_of(reason: str, action: str | None) -> Kind:
    """Tell the kind: only a failure is a bounce, a delay is none, whatever its reason."""
    if action in NO_FAILURE or reason in NONE:
        return Kind.NONE
    if reason in HARD:
        return Kind.HARD
    return Kind.BLOCK if reason in BLOCK else Kind.SOFT
