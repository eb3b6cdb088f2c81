"""Which addresses a call may go to.

Python's `is_global` calls several ranges public that lead to private hosts, such as NAT64 (RFC
6052) and 6to4 (RFC 3056); those are refused by name.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DENIED: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
        "fec0::/10",
        "::/96",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "100.64.0.0/10",
        "198.18.0.0/15",
        "240.0.0.0/4",
    )
)


@dataclass(frozen=True, slots=True)
class Reach:
    """What may be called besides public addresses."""

    networks: tuple[Network, ...] = ()
    loopback: bool = False

    def allows(self, text: str) -> bool:
        """Judge an address as the resolver gives it, its IPv6 zone included."""
        address = plain(ip_address(text.partition("%")[0]))
        if any(address in network for network in self.networks):
            return True
        if address.is_loopback:
            return self.loopback
        is_public = address.is_global and not address.is_multicast
        return is_public and not any(address in network for network in DENIED)


def plain(address: Address) -> Address:
    """Return the IPv4 address inside an IPv4-mapped one (RFC 4291 §2.5.5.2)."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
