"""From the body of a request, by its content type, to what reads rows from it; images that it names by address are fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fusion_automl.data.schema import Schema
from fusion_automl.serve import arrow, multipart
from fusion_automl.serve.rows import Request, addresses, parse, read_request, read_rows
from fusion_automl.serve.uris import ImageSource

SMALL_BODY_BYTES = 16_384
"""Read in the thread of the requests: passing it to another would take as long. Images are never read there."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the rows of a request, as often as it is asked to."""

    read: Callable[[Schema], Request]
    is_quick: bool = False

    async def __call__(self, schema: Schema) -> Request:
        """Rows that fit the schema. Raises Refused."""
        return self.read(schema) if self.is_quick else await asyncio.to_thread(self.read, schema)


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


async def reader(body: bytes, content_type: str, schema: Schema, source: ImageSource | None) -> Reader:
    """What reads the rows of a body, as often as it is asked to. `schema` tells which cells are images. Raises Refused."""
    kind = media_type(content_type)
    fetch_from = source if schema.names("image") else None
    is_quick = len(body) <= SMALL_BODY_BYTES and not schema.names("image")
    if kind == arrow.CONTENT_TYPE:
        return Reader(partial(arrow.read_stream, body), is_quick)
    if kind == multipart.CONTENT_TYPE:
        value, images = await asyncio.to_thread(multipart.read_form, body, content_type)
    elif fetch_from is None:
        return Reader(partial(read_request, body), is_quick)
    else:
        value, images = await asyncio.to_thread(parse, body), {}
    if fetch_from is not None:
        images = {**images, **await fetch_from.get(addresses(value, schema))}
    return Reader(lambda schema: read_rows(value, schema, images))
