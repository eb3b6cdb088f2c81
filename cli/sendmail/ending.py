"""How pillarbox-sendmail ends when it does not end well."""

from relay.errors import RelayError

EX_UNAVAILABLE = 69  # os has it on Unix only, as it has the others


class Ended(RelayError):
    """`code` is of sysexits.h."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
