"""Large files looked for when a mail comes in: what is refused at once, what is looked at later."""

import asyncio

from relay.attachments.offload.look import look
from relay.attachments.offload.offload import too_large
from relay.attachments.offload.policy import Action, policy_of
from relay.errors import Refused
from relay.model import Tenant


async def is_to_be_looked_at(tenant: Tenant | None, content: bytes) -> bool:
    """Whether a mail may have large files that are dealt with before it is sent.

    Raises Refused (552) where it has some and its tenant wants none.
    """
    policy = policy_of(tenant) if tenant else None
    if policy is None or len(content) <= policy.max_bytes:
        return False
    if policy.action is not Action.REJECT:
        return True
    seen = await asyncio.to_thread(look, content, policy.max_bytes)
    if seen.large:
        text = too_large([found.file for found in seen.large], policy)
        raise Refused(text, reason="too large", code=552, enhanced="5.3.4")
    return False
