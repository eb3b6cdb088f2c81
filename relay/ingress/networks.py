"""Who may send without a password, for printers and scanners: the login whose networks (CIDR) cover
the address of the connection.

Promises: an address that the networks of two tenants cover is neither's, so that no tenant can take
another's mail by naming its network; inside a tenant the narrowest network counts. Pure.
"""

import ipaddress
from collections.abc import Sequence

from relay.model import Credential
from relay.store.directory import Admission


def covering(admissions: Sequence[Admission], ip: str) -> list[Admission]:
    """Return those that cover the address, the narrowest first."""
    if not ip or not admissions:
        return []
    address = ipaddress.ip_address(ip)
    found = [one for one in admissions if one.credential.active and address in one.network]
    return sorted(found, key=lambda one: (-one.network.prefixlen, one.credential.username))


def tenants_of(admissions: Sequence[Admission]) -> list[str]:
    return sorted({one.credential.tenant_id for one in admissions})


def public_networks(credential: Credential) -> list[str]:
    """Return those of a login's networks that are not private: anybody may be in there."""
    return [text for text in credential.networks if not ipaddress.ip_network(text).is_private]
