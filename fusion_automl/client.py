"""A client of the service: frames in, frames out, with patience for a service that is busy or just being replaced."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
import requests

from fusion_automl.errors import FusionError, UserError

STREAM = "application/vnd.apache.arrow.stream"
BUSY = (429, 502, 503, 504)
"""What a service or a proxy before it answers when another try may be answered; predictions may be asked for twice."""
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
"""With nine retries 43 s of patience: a proxy that was killed was back after 27 s on a busy machine."""
ROWS_A_REQUEST = 10_000
BYTES_A_REQUEST = 24e6
"""The service takes 32 MiB."""


class ServiceError(FusionError):
    """The service did not answer, or answered with something else than predictions.

    `status` is 0 where there was no answer; `fields` name what is wrong with which row of the call; `request_id` finds the
    request in the service's log.
    """

    def __init__(
        self, message: str, *, status: int = 0, fields: Sequence[Mapping[str, Any]] = (), request_id: str = ""
    ) -> None:
        super().__init__(message)
        self.status, self.fields, self.request_id = status, tuple(fields), request_id


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks to the service at `url`, such as http://127.0.0.1:8000, with its `token`, and with the model
    `model_name`, or the first it has.

    A call that the service refuses for now, or that gets no answer, is repeated up to `retries` times, each after twice the
    pause before and not sooner than the service asks for. `seconds` is how long one answer may take.

    Close it, or use it in a `with`. A certificate of your own authority is taken where the `session`'s `verify` names its file.
    """

    url: str
    token: str = field(repr=False)
    seconds: float = 60.0
    retries: int = 9
    model_name: str | None = None
    session: requests.Session = field(default_factory=requests.Session, repr=False, compare=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.session.close()

    def predict(self, rows: pd.DataFrame | pa.Table | Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """One row for each, in order: `prediction`, then `probability_<class>`, or `lower` and `upper` for values.

        Images are bytes, or paths of files here. Rows travel in as many requests as they need. Raises ServiceError.
        """
        images = [column["name"] for column in self.schema()["columns"] if column["kind"] == "image"]
        parts = [self._predict(part, first) for first, part in _parts(rows, images)]
        return pd.concat(parts, ignore_index=True)

    def schema(self) -> dict[str, Any]:
        """The columns that a row has, as `GET /v1/schema` tells."""
        return self._json("/schema")

    def model(self) -> dict[str, Any]:
        """What the model is worth and made of, as `GET /v1/model` tells."""
        return self._json("/model")

    def _json(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self._answer("GET", path, 0).json()
        return found

    def _predict(self, part: pa.Table, first: int) -> pd.DataFrame:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, part.schema) as writer:
            writer.write_table(part)
        answer = self._answer(
            "POST", "/predict", first, data=sink.getvalue().to_pybytes(), headers={"Content-Type": STREAM}
        )
        with pa.ipc.open_stream(answer.content) as reader:
            return reader.read_all().to_pandas()

    def _answer(self, method: str, path: str, first: int, **options: Any) -> requests.Response:
        """The answer, once it is one. `first` is the place of the request's first row in the call."""
        headers = {
            "Authorization": f"Bearer {self.token}",
            "X-Request-Timeout": f"{self.seconds:.6f}",
            **options.pop("headers", {}),
        }
        prefix = f"/v1/models/{quote(self.model_name, safe='')}" if self.model_name else "/v1"
        pause = FIRST_PAUSE_SECONDS
        for tries_left in range(self.retries, -1, -1):
            asked = pause
            try:
                answer = self.session.request(
                    method, self.url.rstrip("/") + prefix + path, headers=headers, timeout=self.seconds, **options
                )
            except (requests.ConnectionError, requests.Timeout) as error:
                if tries_left == 0:
                    raise ServiceError(f"{self.url}: no answer ({type(error).__name__}). Is the service up?") from None
            else:
                if answer.ok:
                    return answer
                if not _may_pass(answer) or tries_left == 0:
                    raise _refusal(answer, first)
                asked = max(pause, _seconds(answer.headers.get("Retry-After")))
            time.sleep(min(asked, LONGEST_PAUSE_SECONDS))
            pause *= 2
        raise AssertionError("the last try returns or raises")


def _may_pass(answer: requests.Response) -> bool:
    """Whether another try may be answered. All that the application says carries an id: without one, a 500 comes from a
    proxy whose replica died over the request, and a 404 from one that has no application now."""
    from_proxy = "X-Request-ID" not in answer.headers
    return answer.status_code in BUSY or (from_proxy and answer.status_code in (404, 500))


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdecimal() else 0.0


def _refusal(answer: requests.Response, first: int) -> ServiceError:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.reason
    fields: list[dict[str, Any]] = []
    message = str(detail)
    if isinstance(detail, list):
        fields = [{**one, "row": None if one.get("row") is None else first + one["row"]} for one in detail]
        message = "; ".join(f"row {one['row']}, column '{one['column']}': {one['message']}" for one in fields[:3])
        message += f"; and {len(fields) - 3} more" if len(fields) > 3 else ""
    return ServiceError(
        f"{answer.status_code}: {message}",
        status=answer.status_code,
        fields=fields,
        request_id=answer.headers.get("X-Request-ID", ""),
    )


def _parts(rows: Any, images: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    """Tables for one request each, and the place of their first row; at least one."""
    if isinstance(rows, pa.Table):
        table = rows
    else:
        frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
        contents: Any = {name: [_content(cell) for cell in frame[name]] for name in images if name in frame}
        frame = frame.assign(**contents)
        try:
            table = pa.Table.from_pandas(frame, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise UserError(f"rows: a column mixes kinds of values: {error}") from None
    table = table.replace_schema_metadata(None)
    fitting = BYTES_A_REQUEST * table.num_rows / max(1, table.nbytes)
    step = max(1, int(min(ROWS_A_REQUEST, fitting)))
    for first in range(0, max(1, table.num_rows), step):
        yield first, table.slice(first, step)


def _content(cell: Any) -> bytes | None:
    if cell is None or isinstance(cell, bytes):
        return cell
    return Path(cell).read_bytes() if isinstance(cell, str | Path) else None
