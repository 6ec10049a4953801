"""A form with files (`multipart/form-data`): the rows as JSON in the part `rows`, and each image as a part of its own, which
cells name as `file:NAME`.

The form is read from a body that is in memory already, and stays there: no name in it becomes a path.
"""

from __future__ import annotations

from typing import Any

from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import File, parse_options_header

from fusion_automl.serve.rows import FILE, Images, Refused, field_error, parse, refuse

CONTENT_TYPE = "multipart/form-data"
MAX_PARTS = 1_000
ROWS, PARTIAL = "rows", "partial"


def read_form(body: bytes, content_type: str) -> tuple[dict[str, Any], Images]:
    """The request as the value that a body of JSON would be, and the files by what cells call them. Raises Refused."""
    parts = _parts(body, content_type)
    if ROWS not in parts:
        found = ", ".join(sorted(parts)[:10]) or "none"
        refuse(
            [field_error(None, None, f"expected a part '{ROWS}' with a list of rows as JSON; found the parts: {found}")]
        )
    value = {ROWS: parse(parts.pop(ROWS), where=f"The part '{ROWS}'")}
    if PARTIAL in parts:
        value[PARTIAL] = parse(parts.pop(PARTIAL), where=f"The part '{PARTIAL}'")
    rows = value[ROWS] if isinstance(value[ROWS], list) else []
    named = {cell for row in rows if isinstance(row, dict) for cell in row.values() if isinstance(cell, str)}
    # What nobody names was meant for a cell, whose prediction would be wrong without it.
    strangers = [name for name in parts if f"{FILE}{name}" not in named]
    refuse(field_error(None, None, f"no cell names the part '{name}' (as \"{FILE}{name}\")") for name in strangers)
    return value, {f"{FILE}{name}": content for name, content in parts.items()}


def _parts(body: bytes, content_type: str) -> dict[str, bytes]:
    """What each part holds, by name, whether it came as a file or as a field."""
    found: dict[str, bytes] = {}
    complete = []

    def keep(name: bytes | None, content: bytes | None) -> None:
        text = (name or b"").decode("utf-8", errors="replace")
        if text in found:
            raise Refused(400, f"The form has two parts '{text[:100]}'. Give each a name of its own.")
        if len(found) == MAX_PARTS:
            raise Refused(413, f"The form has more than {MAX_PARTS:,} parts. Send the rows in parts.")
        found[text] = content or b""

    def keep_file(file: File) -> None:
        file.file_object.seek(0)
        keep(file.field_name, file.file_object.read())

    try:
        form = FormParser(
            CONTENT_TYPE,
            lambda field: keep(field.field_name, field.value),
            keep_file,
            on_end=lambda: complete.append(True),
            boundary=parse_options_header(content_type)[1].get(b"boundary"),
            config={"MAX_MEMORY_FILE_SIZE": len(body)},
        )
        form.write(body)
    except FormParserError as error:
        raise Refused(400, f"The body is no form that can be read: {error}.") from None
    if not complete:
        raise Refused(400, "The body is no form that can be read: it ends before its last boundary.")
    return found
