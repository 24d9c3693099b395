"""Which addresses a stranger's URL may lead to. Rules only: no name is resolved here."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# Named here although `is_private` knows most of them: which ones depends on Python's patch release.
REFUSED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and the metadata service of some clouds
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, with the metadata service of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, with broadcast
    )
)
GLOBAL_V6 = IPv6Network(
    "2000::/3"
)  # all that IANA has given out for unicast; loopback, fc00::, fe80::, ff00:: are outside
REFUSED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, with Teredo, which carries an IPv4 address
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
MAPPED = IPv6Network("::ffff:0:0/96")
NAT64 = IPv6Network("64:ff9b::/96")
SIX_TO_FOUR = IPv6Network("2002::/16")


def is_public(address: str) -> bool:
    """Whether an address, as a resolver gives it, is one of the open internet.

    An IPv6 address that carries an IPv4 address (mapped, NAT64, 6to4) is as public as that one: the packet ends there.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in REFUSED_V4)
    if ip.scope_id is not None:  # only addresses of one link have a zone
        return False
    inner = _embedded(ip)
    if inner is not None:
        return is_public(str(inner))
    return ip in GLOBAL_V6 and not any(ip in network for network in REFUSED_V6)


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    if ip in MAPPED or ip in NAT64:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    if ip in SIX_TO_FOUR:
        return IPv4Address(int(ip) >> 80 & 0xFFFF_FFFF)
    return None
