"""Images that cells name by their address, where the operator allows it: under none, unless told.

What a client names makes this process send a request, so of an address each part is checked, and then used as it was checked:
its form is narrow, so that no two readers can differ on it; scheme, host and port are those of an allowed prefix, and the path
lies under it however it is decoded; a host's name must lead to public addresses only, and the connection goes to one of those
that were looked at. An address that is not public is reached where the prefix itself is made of it (`https://10.0.0.7/`).
Redirects are not followed, no proxy, cookie or password is used, and what comes is cut at a size and a time.
"""

from __future__ import annotations

import asyncio
import errno
import io
import ipaddress
import logging
import re
import socket
import ssl
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from fusion_automl.data import storage
from fusion_automl.errors import DataError, UserError
from fusion_automl.serve.rows import Images, NoImage, Refused

logger = logging.getLogger(__name__)

MAX_FETCHES = 64
"""Different addresses in a request."""
MAX_AT_ONCE = 16
"""Images on their way to a replica."""
MAX_SECONDS = 10.0
MAX_IMAGE_BYTES = 16 * 1024 * 1024
MAX_FETCHED_BYTES = 32 * 1024 * 1024
"""Of all images of a request."""
MAX_LENGTH = 2_048
CHUNK_BYTES = 64 * 1024

HTTPS = re.compile(
    r"(?P<scheme>https)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)
S3 = re.compile(r"(?P<scheme>s3)://(?P<host>[a-z0-9.-]+)(?P<port>)?(?P<path>/[A-Za-z0-9._~!$&'()+,;=@%/-]*)")
NAT64 = ipaddress.ip_network("64:ff9b::/96")
EXAMPLE = "Expected https://HOST/FOLDER/ or s3://BUCKET/FOLDER/, ending with '/'"


@dataclass(frozen=True, slots=True)
class Address:
    """An address whose form is known; without its query."""

    scheme: str
    host: str
    port: int
    path: str

    def lies_under(self, prefix: Address) -> bool:
        place = (self.scheme, self.host, self.port)
        return place == (prefix.scheme, prefix.host, prefix.port) and self.path.startswith(prefix.path)


def read_address(text: str) -> Address | None:
    """None for anything else than a plain address of https or s3 whose path goes nowhere but down."""
    found = HTTPS.fullmatch(text) or S3.fullmatch(text)
    if found is None or len(text) > MAX_LENGTH or _turns(found["path"]):
        return None
    return Address(found["scheme"], found["host"], int(found["port"] or 443), found["path"])


def _turns(path: str) -> bool:
    """Whether some server could read `path` as one that goes up, or could read it differently from this one."""
    plain = unquote(path)
    segments = re.split(r"[/\\]", plain)
    up = any(segment.partition(";")[0] in (".", "..") for segment in segments)  # `..;` goes up in Java's servers
    return up or unquote(plain) != plain or not plain.isprintable() or "\\" in plain


def read_prefixes(texts: Iterable[str]) -> tuple[Address, ...]:
    """The places under which images may lie. Raises UserError for one that would not say where."""
    found = []
    for text in texts:
        address = read_address(text)
        if address is None or not text.endswith("/") or "?" in text or "%" in text:
            raise UserError(f"--allow-images: got '{text}'. {EXAMPLE}, in small letters up to the folder.")
        found.append(address)
    return tuple(found)


class ImageSource:
    """Gets images from under `prefixes`, and from nowhere else."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        self._prefixes = read_prefixes(prefixes)
        self._at_once = asyncio.Semaphore(MAX_AT_ONCE)
        self._threads = ThreadPoolExecutor(MAX_AT_ONCE, "images")  # a slow bucket must not hold the model's
        self._trust = ssl.create_default_context()

    async def get(self, texts: Collection[str]) -> Images:
        """What is at each of these addresses, or why there is nothing. Raises Refused for too many or too much."""
        if not texts:
            return {}
        if len(texts) > MAX_FETCHES:
            raise Refused(413, f"{len(texts)} addresses of images in one request; at most {MAX_FETCHES} are fetched.")
        async with ClientSession(
            connector=TCPConnector(resolver=PublicResolver(), use_dns_cache=False, ssl=self._trust),
            cookie_jar=DummyCookieJar(),
            headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "fusion-automl"},
            auto_decompress=False,
            timeout=ClientTimeout(total=MAX_SECONDS),
        ) as session:
            room = _Room(MAX_FETCHED_BYTES)
            found = await asyncio.gather(*(self._get(text, session, room) for text in texts))
        return dict(zip(texts, found, strict=True))

    async def _get(self, text: str, session: ClientSession, room: _Room) -> bytes | NoImage:
        address = read_address(text)
        if address is None or not any(address.lies_under(prefix) for prefix in self._prefixes):
            return NoImage("this address is not under one from which the service may get images")
        try:
            async with asyncio.timeout(MAX_SECONDS), self._at_once:
                if address.scheme == "s3":
                    return await asyncio.get_running_loop().run_in_executor(self._threads, _from_bucket, text, room)
                return await _from_web(text, session, room)
        except NoImage as error:
            return error
        except TimeoutError:
            return NoImage(f"the image did not come within {MAX_SECONDS:g} s")
        except (OSError, ValueError, DataError, ClientError) as error:
            logger.warning("no image from %s%s: %s", address.host, address.path, error)
            return NoImage("the image could not be fetched")


async def _from_web(text: str, session: ClientSession, room: _Room) -> bytes:
    async with session.get(URL(text, encoded=True), allow_redirects=False) as answer:
        if answer.status != 200:
            hint = "; redirects are not followed" if 300 <= answer.status < 400 else ""
            raise NoImage(f"the image could not be fetched: its server answered {answer.status}{hint}")
        found = bytearray()
        try:
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                found += chunk
                room.take(len(chunk), len(found))
        except BaseException:
            if answer.connection is not None and answer.connection.transport is not None:
                answer.connection.transport.abort()  # else the server's goodbye is waited for, and it may never come
            raise
        return bytes(found)


def _from_bucket(text: str, room: _Room) -> bytes:
    with storage.opened(text) as file:
        num_bytes = file.seek(0, io.SEEK_END)
        room.take(num_bytes, num_bytes)
        file.seek(0)
        return file.read()


class _Room:
    """Bytes that a request may still fetch."""

    def __init__(self, num_bytes: int) -> None:
        self._left = num_bytes

    def take(self, num_bytes: int, of_image: int) -> None:
        """Raises NoImage."""
        self._left -= num_bytes
        if of_image > MAX_IMAGE_BYTES:
            raise NoImage(f"the image is longer than {MAX_IMAGE_BYTES // 2**20} MiB")
        if self._left < 0:
            raise NoImage(f"the images of the request are longer than {MAX_FETCHED_BYTES // 2**20} MiB together")


class PublicResolver(ThreadedResolver):
    """Finds the addresses of a name, all of which have to be public; the connection is made to what it returns."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[Any]:
        found = await super().resolve(host, port, family)
        for one in found:
            if not is_public(one["host"]):
                raise PermissionError(errno.EPERM, f"{host} leads to {one['host']}, which is not public")
        return found


def is_public(text: str) -> bool:
    """Whether this is an address of the open internet, also where it is a newer form of an older one."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or [None])[-1]
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast
