"""The documentation of the service: each model's request and answers as JSON schemas of its own columns and classes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from fusion_automl.data.schema import Kind
from fusion_automl.serve import multipart
from fusion_automl.serve.answers import EXPECTED_HERE
from fusion_automl.serve.arrow import CONTENT_TYPE, MAX_ARROW_ROWS
from fusion_automl.serve.auth import OPEN_PATHS
from fusion_automl.serve.limits import HEADER, MAX_SECONDS
from fusion_automl.serve.model import Model
from fusion_automl.serve.models import Models
from fusion_automl.serve.rows import FILE, MAX_ROWS
from fusion_automl.serve.served import Served

Json = dict[str, Any]

# All that is taken, not only what should be sent: a client may have its rows from a CSV file, where all is text.
CELL: dict[Kind, Json] = {
    "numeric": {"type": ["number", "boolean", "string", "null"]},
    "boolean": {"type": ["boolean", "number", "string", "null"]},
    "category": {"type": ["string", "number", "boolean", "null"]},
    "datetime": {"type": ["string", "null"]},
    "text": {"type": ["string", "number", "boolean", "array", "null"]},
    "image": {"type": ["string", "null"], "contentEncoding": "base64"},
    "series": {"type": ["array", "null"], "items": {"type": ["number", "boolean", "null"]}},
}
_FIELD_ERROR: Json = {
    "type": "object",
    "properties": {
        "row": {"type": ["integer", "null"]},
        "column": {"type": ["string", "null"]},
        "message": {"type": "string"},
    },
}


def document(app: FastAPI, models: Models) -> Json:
    """All paths, those of each model that is in memory among them, as they are served now."""
    shown = [entry.current for name in models.names if (entry := models.loaded(name))]
    first = shown[0] if shown else None
    found = get_openapi(
        title=", ".join(models.names),
        version=first.model.version if first else "0",
        description="\n\n".join(map(_described, shown)),
        routes=app.routes,
    )
    paths: Json = {}
    for served in shown:
        if served.model.name == models.names[0]:
            paths |= operations(served, "/v1")
    for served in shown:
        paths |= operations(served, f"/v1/models/{quote(served.model.name)}")
    found["paths"] = paths | found["paths"]
    found.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    complete(found)
    return found


def _described(served: Served) -> str:
    model, task = served.model, served.model.artifact.manifest.task
    return f"{model.name}, version {model.version}: predicts '{task.target}' ({task.kind})."


def operations(served: Served, prefix: str) -> Json:
    """What one model answers, by path."""
    name = served.model.name
    plain = {200: {"description": "An object."}}
    found: Json = {
        f"{prefix}/predict": {
            "post": {
                "summary": f"Predict rows with {name}",
                "requestBody": request_body(served.model, max_rows=MAX_ROWS, max_arrow_rows=MAX_ARROW_ROWS),
                "responses": answers(served.model, served.example_answer),
            }
        },
        f"{prefix}/explain": {
            "post": {
                "summary": f"What each column added to predictions of {name}",
                "requestBody": request_body(
                    served.model, max_rows=served.max_explained, max_arrow_rows=served.max_explained
                ),
                "responses": explanation_answers(served.model),
            }
        },
        f"{prefix}/schema": {"get": {"summary": f"The columns of a row of {name}", "responses": _by_status(plain)}},
        f"{prefix}/model": {"get": {"summary": f"What {name} is worth and made of", "responses": _by_status(plain)}},
    }
    for each in found.values():
        for operation in each.values():
            operation["tags"] = [name]
    return found


def complete(document: Json) -> None:
    """Adds what holds for every path but those which need no token: the token, the client's time, and their answers."""
    document["security"] = [{"token": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path in OPEN_PATHS:
                operation["security"] = []
            else:
                operation.setdefault("parameters", []).append(_TIMEOUT)
                operation["responses"] = {**_ANYWHERE, **operation["responses"]}


def request_body(model: Model, *, max_rows: int, max_arrow_rows: int) -> Json:
    """The body of a prediction or an explanation, with a row of the training data as an example that works."""
    manifest = model.artifact.manifest
    columns = [column for column in manifest.schema.columns if column.modality]
    row = {
        "type": "object",
        "properties": {
            column.name: {**CELL[column.kind], "description": f"{EXPECTED_HERE[column.kind]}; null where missing"}
            for column in columns
        },
        "required": [column.name for column in columns],
    }
    rows = {"type": "array", "items": row, "maxItems": max_rows}
    partial = {
        "type": "boolean",
        "default": False,
        "description": "Answer for the rows that fit even where others do not; these are null, and named in errors.",
    }
    body = {"type": "object", "properties": {"rows": rows, "partial": partial}, "required": ["rows"]}
    example = {"rows": [manifest.example]}
    stream = {"type": "string", "format": "binary", "description": f"At most {max_arrow_rows:,} rows, not compressed."}
    form = {
        "type": "object",
        "properties": {
            "rows": {"type": "string", "contentMediaType": "application/json", "contentSchema": rows},
            "partial": partial,
        },
        "required": ["rows"],
        "additionalProperties": {
            "type": "string",
            "format": "binary",
            "description": f'An image of any name, which one or more cells give as "{FILE}NAME".',
        },
    }
    content = {
        "application/json": {"schema": body, "example": example},
        multipart.CONTENT_TYPE: {"schema": form, "example": {"rows": json.dumps(example["rows"])}},
        CONTENT_TYPE: {"schema": stream},
    }
    return {"required": True, "content": content}


def answers(model: Model, example: Json) -> Json:
    """Every status that a prediction can end with; `example` is the answer to the example of `request_body`."""
    prediction: Json = {"type": "object", "properties": {"prediction": {"type": "number"}}, "required": ["prediction"]}
    classes, interval = model.artifact.manifest.task.classes, model.artifact.manifest.readout.interval
    if interval:
        prediction["properties"]["interval"] = {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 2,
            "maxItems": 2,
            "description": f"The target lies between these in {interval.level:.0%} of rows.",
        }
        prediction["required"].append("interval")
    if classes:
        each = {str(label): {"type": "number"} for label in classes}
        prediction["properties"] = {
            "prediction": {"enum": list(classes)},
            "probabilities": {"type": "object", "properties": each, "required": list(each)},
        }
        prediction["required"] = ["prediction", "probabilities"]
    answer = {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "string"},
            "predictions": {"type": "array", "items": {"anyOf": [prediction, {"type": "null"}]}},
            "errors": {"type": "array", "items": _FIELD_ERROR, "description": "Only where the request is partial."},
        },
        "required": ["model", "version", "predictions"],
    }
    return _with_refusals(_answer("One prediction for each row, in order.", answer, example))


def explanation_answers(model: Model) -> Json:
    """Every status that an explanation can end with."""
    task = model.artifact.manifest.task
    number = {"type": "number"}
    columns = {name: number for name in model.artifact.manifest.schema.used}
    explanation = {
        "type": "object",
        "properties": {
            "prediction": {"enum": list(task.classes)} if task.is_classification else number,
            "value": {**number, "description": "What is explained, in the answer's unit."},
            "base": {**number, "description": "The same when every column is missing."},
            "contributions": {
                "type": "object",
                "properties": columns,
                "required": list(columns),
                "description": "What each column added; base and these sum to value.",
            },
        },
        "required": ["prediction", "value", "base", "contributions"],
    }
    text = {"type": "string"}
    answer = {
        "type": "object",
        "properties": {
            **dict.fromkeys(("model", "version", "method", "baseline", "unit"), text),
            "explanations": {"type": "array", "items": {"anyOf": [explanation, {"type": "null"}]}},
            "errors": {"type": "array", "items": _FIELD_ERROR, "description": "Only where the request is partial."},
        },
        "required": ["model", "version", "method", "baseline", "unit", "explanations"],
    }
    return _with_refusals(_answer("One explanation for each row, in order.", answer))


def _with_refusals(success: Json) -> Json:
    fields = {"type": "array", "items": _FIELD_ERROR}
    found = {
        200: success,
        400: _answer("The body cannot be read, or a header is not what it should be.", _detail({"type": "string"})),
        415: _answer("The body is of another type, or compressed.", _detail({"type": "string"})),
        413: _answer("The body or the number of rows is too big.", _detail({"type": "string"})),
        422: _answer("Some fields do not fit; each is named.", _detail(fields)),
        500: _answer("A fault of the service; its log has the request_id.", _detail({"type": "string"})),
    }
    return _by_status(found)


def _detail(schema: Json) -> Json:
    return {"type": "object", "properties": {"detail": schema}, "required": ["detail"]}


def _answer(description: str, schema: Json, example: Json | None = None) -> Json:
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"description": description, "content": {"application/json": content}}


def _by_status(found: dict[int, Json]) -> Json:
    return {str(status): answer for status, answer in found.items()}


_TIMEOUT: Json = {
    "name": HEADER,
    "in": "header",
    "description": "Seconds after which the request is given up, its rows not predicted.",
    "schema": {"type": "number", "exclusiveMinimum": 0, "default": MAX_SECONDS},
    "example": 10,
}
_ANYWHERE: Json = {
    "400": _answer("A header is not what it should be.", _detail({"type": "string"})),
    "401": _answer("The token is missing or wrong.", _detail({"type": "string"})),
    "503": _answer(
        "There is no room now, or the model cannot be loaded; Retry-After says when to come back.",
        _detail({"type": "string"}),
    ),
    "504": _answer("There was no answer in time.", _detail({"type": "string"})),
}
