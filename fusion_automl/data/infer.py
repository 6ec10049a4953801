"""Looks at a table and says what each column is.

The rules are judgements, and each leaves a way out: print the schema (`to_toml` in `override`), change a line, pass it
back.

- Integers stay numbers, however few distinct ones there are, unless the name ends in id, code or zip.
- Words that are numbers in 95 of 100 cells are numbers, unless they are codes (leading zeros, or such a name).
- Distinct short words or whole numbers that count rows are identifiers, from which nothing learns.
- A column that no kind fits (objects inside objects) is an identifier too.
"""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.component import unknown
from fusion_automl.data import cells
from fusion_automl.data.schema import KINDS, Column, Kind, Schema
from fusion_automl.errors import DataError

Floats = npt.NDArray[np.float64]

SHARE_THAT_DECIDES = 0.95
"""A kind needs this share of the non-missing cells; real tables hold a few words among their numbers."""
SAMPLE = 1000
CODE_NAMES = frozenset({"id", "code", "zip", "zipcode", "postcode"})
ROW_NAMES = frozenset({"id", "idx", "index", "key", "uuid", "guid", "row", "rowid", "no", "nr"})
BOOLEAN_WORDS = tuple(map(frozenset, (("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"))))
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_HEX_NAME = re.compile(r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{16,}")
_ISO_DATE = re.compile(r"\s*\d{4}-\d{1,2}(-\d{1,2})?([T ]\d{1,2}:\d{2}.*)?\s*$")
_WORDS = re.compile(r"[぀-ヿ一-鿿]|[^\s぀-ヿ一-鿿]+")  # Chinese and Japanese put no spaces between words
_NAME_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def infer_schema(
    frame: pd.DataFrame, *, exclude: Collection[str] = (), overrides: Mapping[str, str] | None = None
) -> Schema:
    """The kinds of all columns but `exclude`, `overrides` (column -> kind) first; any cell's value is survived.

    Raises DataError for a column or kind in `overrides` that does not exist.
    """
    forced = dict(overrides or {})
    for name, kind in forced.items():
        if name not in frame.columns:
            raise DataError(f"[columns]: {unknown('column', name, list(frame.columns))}")
        if kind not in KINDS:
            raise DataError(f"[columns] {name}: {unknown('kind', kind, list(KINDS))}")
    names = [name for name in frame.columns if name not in set(exclude)]
    return Schema(tuple(_column(name, frame[name], forced.get(name)) for name in names))


def _column(name: str, column: pd.Series[Any], forced: str | None) -> Column:
    present = column[column.notna().to_numpy()]
    num_distinct = _num_distinct(present)
    num_unparsed = 0
    if forced is not None:
        kind = next(known for known in KINDS if known == forced)
    elif num_distinct <= 1:
        kind = "constant"
    else:
        kind = _kind(name, present, num_distinct, whole=len(present) == len(column))
        num_unparsed = len(cells.CONVERT[kind](present).bad) if _holds_objects(present) else 0
    example = cells.short(present.iloc[0], limit=60) if len(present) else ""
    return Column(name, kind, len(column) - len(present), num_distinct, example, num_unparsed)


def _holds_objects(column: pd.Series[Any]) -> bool:
    return pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column.dtype)


def _num_distinct(present: pd.Series[Any]) -> int:
    try:
        return int(present.nunique())
    except TypeError:  # lists, arrays and dicts cannot be hashed
        return len({cell.tobytes() if isinstance(cell, np.ndarray) else repr(cell) for cell in present})


def _kind(name: str, present: pd.Series[Any], num_distinct: int, *, whole: bool) -> Kind:
    """The kind of a column with at least two distinct values; `whole` where no cell is missing."""
    if isinstance(present.dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_bool_dtype(present.dtype):
        return "boolean"
    if pd.api.types.is_datetime64_any_dtype(present.dtype):
        return "datetime"
    if pd.api.types.is_numeric_dtype(present.dtype) or pd.api.types.is_timedelta64_dtype(present.dtype):
        return _kind_of_numbers(name, cells.numeric(present).values, whole=whole)
    usual = Counter(map(type, present)).most_common(1)[0][0]
    if issubclass(usual, bytes | bytearray | dict):
        return _kind_of_bytes(name, present, num_distinct)
    if issubclass(usual, list | tuple | np.ndarray):
        return "series" if _fits("series", present) else "text" if _fits("text", present) else "identifier"
    return _kind_of_words(name, present, num_distinct, whole=whole)


def _fits(kind: Kind, present: pd.Series[Any]) -> bool:
    """Whether nearly all cells can be of the kind; a sample spares most columns the look at every cell."""
    convert, sample = cells.CONVERT[kind], present.iloc[:: len(present) // SAMPLE + 1]
    if len(convert(sample).bad) > 0.5 * len(sample):
        return False
    return len(convert(present).bad) <= (1 - SHARE_THAT_DECIDES) * len(present)


def _last_word(name: str) -> str:
    parts = _NAME_PARTS.findall(name)
    return parts[-1].lower() if parts else ""


def _kind_of_numbers(name: str, values: Floats, *, whole: bool) -> Kind:
    """Row numbers and identifiers are told from measurements by their name, their order and where they start."""
    if not (values == np.floor(values)).all():
        return "numeric"
    distinct = np.unique(values)
    all_distinct = len(distinct) == len(values)
    if all_distinct and whole:
        rising = bool((np.diff(values) > 0).all())
        counts_rows = distinct[0] in (0, 1) and distinct[-1] - distinct[0] == len(values) - 1
        counts_sampled_rows = rising and 0 <= distinct[0] <= 1 and distinct[-1] <= 2 * len(values)
        if len(values) >= 3 and (counts_rows or counts_sampled_rows or (rising and _last_word(name) in ROW_NAMES)):
            return "identifier"
    if _last_word(name) in CODE_NAMES:
        return "identifier" if all_distinct else "category"
    return "numeric"


def _kind_of_bytes(name: str, present: pd.Series[Any], num_distinct: int) -> Kind:
    """Bytes are images when they open as such; otherwise they are words if they are UTF-8."""
    converted = cells.image(present)
    pictures = [cell for cell in converted.values if cell is not None]
    sample = pictures[:: max(1, len(pictures) // 20)][:20]
    if sample and sum(map(_opens, sample)) >= len(sample) / 2 and _fits("image", present):
        return "image"
    words = cells.text(present)
    if len(words.bad) > (1 - SHARE_THAT_DECIDES) * len(present):
        return "identifier"
    decoded = pd.Series([cell for cell in words.values if cell is not None], dtype=object)
    return _kind_of_words(name, decoded, num_distinct, whole=False)


def _opens(cell: bytes | str) -> bool:
    """Whether a cell looks like an image, by the header of the bytes or the suffix of the path."""
    from PIL import Image

    if isinstance(cell, str):
        return cell.lower().endswith(IMAGE_SUFFIXES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # size is checked where pixels are read
            Image.open(io.BytesIO(cell)).close()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return isinstance(error, Image.DecompressionBombError)
    return True


def _kind_of_words(name: str, present: pd.Series[Any], num_distinct: int, *, whole: bool) -> Kind:
    words = pd.Series([cell for cell in cells.text(present).values if cell is not None], dtype=object)
    if not len(words):
        return "identifier"
    if frozenset(word.strip().casefold() for word in words.iloc[:SAMPLE]) in BOOLEAN_WORDS and _fits("boolean", words):
        return "boolean"
    if _fits("numeric", words):
        coded = _last_word(name) in CODE_NAMES or any(re.fullmatch(r"\s*0\d+\s*", word) for word in words)
        values = cells.numeric(words).values
        values = values[~np.isnan(values)]
        if coded:
            return "category" if num_distinct < len(words) or len(words) < 20 else "identifier"
        if len(values):
            return _kind_of_numbers(name, values, whole=whole and len(values) == len(present))
    if all(map(_ISO_DATE.match, words.iloc[:20])) and _fits("datetime", words):
        return "datetime"
    if sum(word.lower().rstrip().endswith(IMAGE_SUFFIXES) for word in words) >= SHARE_THAT_DECIDES * len(words):
        return "image"
    return _kind_of_language(name, words, num_distinct)


def _kind_of_language(name: str, words: pd.Series[Any], num_distinct: int) -> Kind:
    """Text is many-worded and seldom repeats; an identifier is one word and never repeats; the rest are categories."""
    sample = words.iloc[:: max(1, len(words) // SAMPLE)]
    num_words = sum(len(_WORDS.findall(cell)) for cell in sample) / len(sample)
    num_letters = sum(map(len, sample)) / len(sample)
    distinct_share = num_distinct / len(words)
    if (num_words >= 2 and distinct_share >= 0.5) or (num_words >= 5 and distinct_share >= 0.05 and num_distinct > 20):
        return "text"
    if distinct_share < 1:
        return "category"
    if _last_word(name) in ROW_NAMES or all(map(_HEX_NAME.fullmatch, sample)):
        return "identifier"
    if len(words) < 20:
        return "category"
    return "text" if num_letters > 30 else "identifier"


def describe(schema: Schema) -> str:
    """The schema as a table for people, one line a column."""
    rows = [("column", "kind", "distinct", "missing", "example")]
    rows += [(c.name, c.kind, str(c.num_distinct), str(c.num_missing), c.example) for c in schema.columns]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join("  ".join([*(row[i].ljust(widths[i]) for i in range(4)), row[4]]).rstrip() for row in rows)
