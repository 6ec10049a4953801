"""The service keeps to its own documentation, whatever is sent that fits it, or almost does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import OPEN_PATHS, Tokens, digest
from fusion_automl.serve.model import open_model
from tests.serve.conftest import serving


def no_fault(ctx: Any, answer: schemathesis.Response, case: schemathesis.Case) -> None:
    assert answer.status_code < 500 or answer.status_code == 504, answer.text  # for a time of milliseconds


CHECKS = [
    no_fault,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.ignored_auth,
    checks.unsupported_method,
]


HEALTH = list(HealthCheck)
HEADERS = {"Authorization": "Bearer sesame"}


@pytest.fixture(scope="module")
def document(run_folder: Path) -> schemathesis.BaseSchema:
    app = make_app(serving(shirts=open_model(run_folder)), Tokens([digest("sesame")]))
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers=HEADERS)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_a_documented_one(document: schemathesis.BaseSchema, mode: GenerationMode) -> None:
    """`mode` is whether what is sent fits the documentation."""
    operations = [found.ok() for found in document.get_all_operations()]
    assert {"/v1/predict", "/v1/schema", "/v1/model", "/metrics", "/healthz"} <= {found.path for found in operations}
    answered: set[tuple[str, int]] = set()
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and operation.path in OPEN_PATHS:
            continue  # which take nothing that could be wrong

        num_cases = 100 if operation.path == "/v1/predict" else 10

        @settings(max_examples=num_cases, derandomize=True, deadline=None, database=None, suppress_health_check=HEALTH)
        @given(case=operation.as_strategy(generation_mode=mode))
        def keeps_to_it(case: schemathesis.Case) -> None:
            partial = isinstance(case.body, dict) and case.body.get("partial") is True  # takes bad rows as well
            more = [] if partial else [checks.negative_data_rejection]
            answer = case.call_and_validate(checks=CHECKS + more, headers=HEADERS)
            answered.add((case.path, answer.status_code))

        keeps_to_it()
    expected = {200, 422} if mode is GenerationMode.POSITIVE else {400, 422}
    assert {("/v1/predict", status) for status in expected} <= answered
