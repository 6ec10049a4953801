"""The request and the answers of `/v1/predict` as JSON schemas, made from the artifact's own columns and classes."""

from __future__ import annotations

from typing import Any

from fusion_automl.data.schema import Kind
from fusion_automl.serve.answers import EXPECTED_HERE
from fusion_automl.serve.model import Model
from fusion_automl.serve.rows import MAX_ROWS

Json = dict[str, Any]

CELL: dict[Kind, Json] = {
    "numeric": {"type": ["number", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "category": {"type": ["string", "number", "boolean", "null"]},
    "datetime": {"type": ["string", "null"]},
    "text": {"type": ["string", "null"]},
    "image": {"type": ["string", "null"], "contentEncoding": "base64"},
    "series": {"type": ["array", "null"], "items": {"type": ["number", "null"]}},
}
_FIELD_ERROR: Json = {
    "type": "object",
    "properties": {
        "row": {"type": ["integer", "null"]},
        "column": {"type": ["string", "null"]},
        "message": {"type": "string"},
    },
}


def request_body(model: Model) -> Json:
    """The body of a prediction, with a row of the training data as an example that works."""
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
    body = {
        "type": "object",
        "properties": {"rows": {"type": "array", "items": row, "maxItems": MAX_ROWS}},
        "required": ["rows"],
    }
    example = {"rows": [manifest.example]}
    return {"required": True, "content": {"application/json": {"schema": body, "example": example}}}


def answers(model: Model, example: Json) -> dict[int | str, Json]:
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
            "predictions": {"type": "array", "items": prediction},
        },
        "required": ["model", "version", "predictions"],
    }
    fields = {"type": "array", "items": _FIELD_ERROR}
    return {
        200: _answer("One prediction for each row, in order.", answer, example),
        400: _answer("The body is not JSON.", _detail({"type": "string"})),
        401: _answer("The token is missing or wrong.", _detail({"type": "string"})),
        413: _answer("The body or the number of rows is too big.", _detail({"type": "string"})),
        422: _answer("Some fields do not fit; each is named.", _detail(fields)),
        500: _answer("A fault of the service; its log has the request_id.", _detail({"type": "string"})),
    }


def _detail(schema: Json) -> Json:
    return {"type": "object", "properties": {"detail": schema}, "required": ["detail"]}


def _answer(description: str, schema: Json, example: Json | None = None) -> Json:
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"description": description, "content": {"application/json": content}}
