"""What one stage found about one recipient, before it is judged."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`diagnostic` is what was said about this recipient, `context` what stands around it in the
    notice: it is asked only where the first says too little. `category` is what the reporting
    mailer itself made of it (PowerMTA).
    """

    address: str | None
    action: str | None = None
    status: str | None = None
    diagnostic: str = ""
    mechanism: str = ""
    category: str = ""
    remote_mta: str | None = None
    context: str = ""
