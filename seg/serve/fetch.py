"""Files of other hosts: of those that the settings name, over addresses of the public network, and no others."""

import asyncio
import socket
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx
import psutil
from starlette.exceptions import HTTPException

PORTS = {"http": 80, "https": 443}
WRAPPED = [ip_network(known) for known in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")]
"""IPv6 addresses that stand for an IPv4 one: NAT64 (RFC 6052, 8215), 6to4 (RFC 3056), Teredo (RFC 4380)."""


def is_public(text: str) -> bool:
    """Whether an address is of the public network, and of no interface of this machine."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    own = {entry.address.partition("%")[0] for entries in psutil.net_if_addrs().values() for entry in entries}
    wrapped = any(address in network for network in WRAPPED if network.version == address.version)
    return address.is_global and not (address.is_multicast or address.is_reserved or wrapped) and str(address) not in own


async def addresses_of(host: str, port: int) -> list[str]:
    """What the system resolves a host to."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Fetcher:
    """Fetches files from the hosts that are allowed. The name is resolved once and every address looked at, and the connection goes to
    one that was looked at, so that a name that changes its address in between leads nowhere else. Redirects are not followed."""

    def __init__(self, hosts: list[str], most: int, timeout: float) -> None:
        self.hosts, self.most = [host.lower() for host in hosts], most
        alone = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=timeout, limits=alone) if hosts else None

    async def fetch(self, url: str) -> tuple[bytes, str]:
        """The bytes and the name of a file. HTTPException: 400 for what is no URL, 403 for what is not allowed, 413, 422."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port or PORTS[parts.scheme]
        except (ValueError, KeyError):
            raise HTTPException(400, "url: expected http://HOST/FILE or https://HOST/FILE") from None
        usual = parts.port is None or port in PORTS.values()
        if self.client is None or not host or not ((usual and host in self.hosts) or f"{host}:{port}" in self.hosts):
            raise HTTPException(403, "url: its host is not among those that serve.hosts allows")
        try:
            addresses = await addresses_of(host, port)
            if not addresses or not all(map(is_public, addresses)):
                raise HTTPException(403, "url: its host has an address that is not of the public network")
            netloc = f"[{addresses[0]}]:{port}" if ":" in addresses[0] else f"{addresses[0]}:{port}"
            place = urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))
            named = {"Host": host if parts.port is None else f"{host}:{port}", "Accept-Encoding": "identity"}
            async with self.client.stream("GET", place, headers=named, extensions={"sni_hostname": host}) as answer:
                if answer.status_code != 200:
                    raise HTTPException(422, f"url: answers with status {answer.status_code}, expected 200; redirects are not followed")
                content = bytearray()
                async for part in answer.aiter_raw():
                    content += part
                    if len(content) > self.most:
                        raise HTTPException(413, f"url: gives more than {self.most:,} bytes")
        except (OSError, UnicodeError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise HTTPException(422, f"url: cannot be fetched ({type(error).__name__})") from None
        return bytes(content), PurePosixPath(unquote(parts.path)).name
