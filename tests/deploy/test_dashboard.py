"""Grafana's dashboard asks for figures that there are."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from tests.deploy.conftest import KUBERAY

DASHBOARD = json.loads((KUBERAY / "grafana-dashboard.json").read_text())
QUERIES = {target["expr"]: panel["title"] for panel in DASHBOARD["panels"] for target in panel["targets"]}
NAME = re.compile(r"\b(?:ray|fusion_automl)_\w+(?=\{)")
SUFFIXES = ("_total", "_bucket")


def base(name: str) -> str:
    """A figure's name without what Prometheus adds for its kind."""
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


@pytest.fixture(scope="module")
def known() -> set[str]:
    """The names in the source of the installed Ray, read without importing it, and those of the service itself."""
    from fusion_automl.serve.drift import Drifts
    from fusion_automl.serve.trace import Metrics

    spec = importlib.util.find_spec("ray")
    assert spec is not None and spec.origin is not None
    ray = Path(spec.origin).parent
    files = [
        *(ray / "serve" / "_private").glob("*.py"),
        ray / "dashboard" / "modules" / "reporter" / "reporter_agent.py",
    ]
    text = "\n".join(path.read_text() for path in files).replace("{protocol_name}", "http")
    names = {f"ray_{name}" for name in re.findall(r'Gauge\(\s*"((?:node|component)_\w+)"', text)}
    names |= {f"ray_{name}" for name in re.findall(r'"(serve_\w+)"', text)}
    ours = [*Metrics().registry.collect(), *Drifts(list).collect()]
    return names | {metric.name for metric in ours}


@pytest.mark.parametrize("query", QUERIES, ids=QUERIES.values())
def test_the_figures_of_a_query_are_there(query: str, known: set[str]) -> None:
    names = NAME.findall(query)
    assert names
    assert [name for name in names if name not in known and base(name) not in known] == []


def test_the_known_are_told_from_others(known: set[str]) -> None:
    assert {"ray_serve_num_http_requests", "ray_serve_deployment_queued_queries", "fusion_automl_rows"} <= known
    assert not {"ray_serve_num_http_reqests", "ray_serve_num_grpc_requests_total"} & known


def test_rates_are_of_counters_and_quantiles_of_buckets() -> None:
    for query in QUERIES:
        for name in re.findall(r"(?:rate|increase)\((\w+)\{", query):
            assert name.endswith(SUFFIXES), query
        assert query.count("histogram_quantile") == query.count("_bucket{"), query
        assert query.count("(") == query.count(")")


def test_what_must_be_seen_is_seen() -> None:
    shown = " ".join(QUERIES)
    assert {"0.5", "0.99"} <= set(re.findall(r"histogram_quantile\(([\d.]+)", shown))
    for figure in ("http_requests", "error_requests", "queued_queries", "replica_healthy", "node_cpu", "node_mem"):
        assert figure in shown
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
