"""Addresses of a service: host:port or unix:/path. Knows no socket."""

import ipaddress


def is_local(address: str) -> bool:
    """Whether only this machine reaches the address.

    Raises:
        ValueError: it is neither host:port nor unix:/path.
    """
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"address {address!r} is neither host:port nor unix:/path")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
