"""The service on Kubernetes: valid as far as schemas go, closed, without rights, and of sizes that go together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.conftest import locked
from tests.cluster.test_kuberay import closed, quantity
from tests.deploy.conftest import KUBERAY, Json, documents, service

SERVE_PORT, DASHBOARD_PORT, METRICS_PORT, STATE_PORT = 8000, 8265, 8080, 6379
EVERYWHERE = "anything"


def cluster() -> Json:
    (manifest,) = documents("rayservice")
    spec: Json = manifest["spec"]["rayClusterConfig"]
    return spec


def one(kind: str) -> Json:
    """The only object of a kind."""
    (found,) = [it for path in KUBERAY.glob("*.yaml") for it in documents(path.stem) if it["kind"] == kind]
    return found


def pods() -> dict[str, Json]:
    """The pods' templates, with the labels by which policies know them: the operator's, beside ours."""
    found = {"head": cluster()["headGroupSpec"]["template"], "state": one("StatefulSet")["spec"]["template"]}
    (group,) = cluster()["workerGroupSpecs"]
    found["worker"] = group["template"]
    for kind in ("head", "worker"):
        found[kind]["metadata"]["labels"] |= {"ray.io/is-ray-node": "yes", "ray.io/node-type": kind}
    return found


def selects(selector: Json, labels: Json) -> bool:
    expressions = selector.get("matchExpressions", [])
    assert all(it["operator"] == "In" for it in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(it["key"]) in it["values"] for it in expressions
    )


def sources(rule: Json) -> set[str]:
    """Who a rule lets in: pods by name, others by their namespace and labels."""
    found = set()
    for peer in rule.get("from", [{}]):
        outside = peer.get("namespaceSelector")
        if outside is not None:
            known = [
                *outside.get("matchLabels", {}).values(),
                *peer.get("podSelector", {}).get("matchLabels", {}).values(),
            ]
            found.add(" ".join(known) or EVERYWHERE)
        elif "podSelector" in peer:
            found |= {name for name, pod in pods().items() if selects(peer["podSelector"], pod["metadata"]["labels"])}
        else:
            found.add(EVERYWHERE)
    return found


def entries(pod: str) -> set[tuple[str, int | str]]:
    """Who reaches which port of a pod."""
    labels = pods()[pod]["metadata"]["labels"]
    chosen = [it["spec"] for it in documents("networkpolicy") if selects(it["spec"]["podSelector"], labels)]
    assert any("Ingress" in spec["policyTypes"] and "Egress" in spec["policyTypes"] for spec in chosen)
    rules = [rule for spec in chosen for rule in spec.get("ingress", [])]
    return {
        (source, port["port"])
        for rule in rules
        for source in sources(rule)
        for port in rule.get("ports", [{"port": EVERYWHERE}])
    }


@pytest.fixture(scope="session")
def crd(schemas: Path) -> Json:
    """KubeRay's schema of a RayService, which refuses what it does not know."""
    schema: Json = closed(json.loads((schemas / "ray.io_v1_rayservices.json").read_text()))
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def complaints(schema: Json, value: Any) -> list[str]:
    from jsonschema import Draft7Validator

    return [f"{error.json_path}: {error.message}" for error in Draft7Validator(schema).iter_errors(value)]


def test_kuberay_takes_the_service(crd: Json) -> None:
    (manifest,) = documents("rayservice")
    assert complaints(crd, manifest) == []
    manifest["spec"]["rayClusterConfig"]["rayVersoin"] = "2.60.0"
    (complaint,) = complaints(crd, manifest)
    assert "rayVersoin" in complaint
    assert cluster()["rayVersion"] == locked("ray")


def test_parts_that_kuberay_s_schema_knows_are_right_elsewhere(crd: Json) -> None:
    spec = crd["properties"]["spec"]["properties"]
    ray = spec["rayClusterConfig"]["properties"]
    assert complaints(spec["serveService"]["properties"]["spec"], one("Service")["spec"]) == []
    pod = ray["headGroupSpec"]["properties"]["template"]["properties"]["spec"]
    assert complaints(pod, one("StatefulSet")["spec"]["template"]["spec"]) == []
    rules = ray["networkPolicy"]["properties"]["head"]["properties"]
    for policy in documents("networkpolicy"):
        assert complaints(rules["ingressRules"], policy["spec"]["ingress"]) == []
        assert complaints(rules["egressRules"], policy["spec"].get("egress", [])) == []
    assert complaints(rules["ingressRules"], [{"form": []}]) != []


def test_who_reaches_what() -> None:
    ray = {("head", EVERYWHERE), ("worker", EVERYWHERE)}
    monitoring = {("monitoring", METRICS_PORT), ("monitoring", SERVE_PORT)}
    assert entries("worker") == ray | monitoring | {("traefik", SERVE_PORT)}
    assert entries("head") == ray | monitoring | {("kuberay-operator", DASHBOARD_PORT)}
    assert entries("state") == {("head", STATE_PORT)}
    ways_out = [rule for it in documents("networkpolicy") for rule in it["spec"].get("egress", [])]
    assert {port["port"] for rule in ways_out if "to" not in rule for port in rule["ports"]} == {53, 443, 6443}


def test_nothing_is_offered_to_the_outside_but_by_the_ingress() -> None:
    head = cluster()["headGroupSpec"]
    (manifest,) = documents("rayservice")
    assert not {"serviceType", "enableIngress", "headService", "ingressOptions"} & set(head)
    assert "serveService" not in manifest["spec"] and manifest["spec"]["excludeHeadPodFromServeSvc"]
    assert one("Service")["spec"].get("type", "ClusterIP") == "ClusterIP"
    for pod in pods().values():
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"])
        assert not [port for box in pod["spec"]["containers"] for port in box["ports"] if "hostPort" in port]


def test_the_ingress_is_https_and_shows_the_model_alone() -> None:
    spec = one("Ingress")["spec"]
    assert {rule["host"] for rule in spec["rules"]} == {host for tls in spec["tls"] for host in tls["hosts"]}
    assert all(tls["secretName"] == "fusion-automl-tls" for tls in spec["tls"])
    (manifest,) = documents("rayservice")
    for path in (path for rule in spec["rules"] for path in rule["http"]["paths"]):
        backend = path["backend"]["service"]
        assert backend == {"name": f"{manifest['metadata']['name']}-serve-svc", "port": {"number": SERVE_PORT}}
        shown = path["path"] if path["pathType"] == "Prefix" else f"{path['path']} alone"
        assert not [hidden for hidden in ("/-/routes", "/metrics", "/docs") if hidden.startswith(shown)]


def test_pods_have_no_rights_and_write_to_few_places() -> None:
    for name, pod in pods().items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == 1000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is (name == "head")
        boxes = [*spec["containers"], *([cluster()["autoscalerOptions"]] if name == "head" else [])]
        for box in boxes:
            assert box["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert box["resources"]["requests"] == box["resources"]["limits"]
            mounted = {mount["mountPath"] for mount in box["volumeMounts"] if not mount.get("readOnly")}
            assert mounted == ({"/data"} if name == "state" else {"/tmp", "/home/fusion"})
    labels = one("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_tokens_come_from_secrets_and_have_no_default() -> None:
    assert cluster()["authOptions"] == {"mode": "token"}
    for kind in ("head", "worker"):
        (box,) = pods()[kind]["spec"]["containers"]
        env = {it["name"]: it.get("value") for it in box["env"]}
        assert "FUSION_AUTOML_TOKEN" not in env  # what clients send is in no pod, its digest is
        (volume,) = [it for it in pods()[kind]["spec"]["volumes"] if "secret" in it]
        (mount,) = [it for it in box["volumeMounts"] if it["name"] == volume["name"]]
        assert mount["readOnly"] and "subPath" not in mount  # one of a single file would not follow the Secret
        assert env["FUSION_AUTOML_TOKENS"] == f"{mount['mountPath']}/tokens"
        assert volume["secret"] == {"secretName": "fusion-automl-tokens", "defaultMode": 0o440}
    password = cluster()["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]
    (state,) = pods()["state"]["spec"]["containers"]
    assert [it["valueFrom"] for it in state["env"] if it["name"] == "PASSWORD"] == [password]
    assert cluster()["gcsFaultToleranceOptions"]["redisAddress"] == f"{one('Service')['metadata']['name']}:{STATE_PORT}"


def test_there_is_room_for_the_replicas_and_for_a_change_of_version() -> None:
    (app,) = service()["applications"]
    (deployment,) = app["deployments"]
    scaling = deployment["autoscaling_config"]
    (group,) = cluster()["workerGroupSpecs"]
    assert deployment["max_replicas_per_node"] == 1 and group["minReplicas"] >= scaling["min_replicas"]
    assert group["maxReplicas"] >= scaling["max_replicas"] * (1 + deployment["max_surge_percent"] / 100)
    head = cluster()["headGroupSpec"]["rayStartParams"]
    assert (head["num-cpus"], head["num-gpus"]) == ("0", "0") and cluster()["enableInTreeAutoscaling"]
    (box,) = group["template"]["spec"]["containers"]
    assert int(app["args"]["cpus"]) < int(box["resources"]["limits"]["cpu"])
    used = int(group["rayStartParams"]["memory"]) + int(group["rayStartParams"]["object-store-memory"])
    assert (
        0.75 * quantity(box["resources"]["limits"]["memory"])
        < used
        < 0.97 * quantity(box["resources"]["limits"]["memory"])
    )


def test_a_worker_ends_what_it_began() -> None:
    config = service()
    (group,) = cluster()["workerGroupSpecs"]
    (box,) = group["template"]["spec"]["containers"]
    env = {it["name"]: it.get("value") for it in box["env"]}
    drain = int(env["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
    assert config["applications"][0]["deployments"][0]["graceful_shutdown_timeout_s"] < drain
    assert drain < group["template"]["spec"]["terminationGracePeriodSeconds"]
    (manifest,) = documents("rayservice")
    assert manifest["spec"]["rayClusterDeletionDelaySeconds"] > config["http_options"]["request_timeout_s"]
    assert box["readinessProbe"]["httpGet"] == {"path": "/-/healthz", "port": "serve"}
    assert {"name": "serve", "containerPort": config["http_options"]["port"]} in box["ports"]


def test_the_budget_is_about_workers_and_lets_one_go() -> None:
    spec = one("PodDisruptionBudget")["spec"]
    chosen = {name for name, pod in pods().items() if selects(spec["selector"], pod["metadata"]["labels"])}
    assert chosen == {"worker"}
    least = service()["applications"][0]["deployments"][0]["autoscaling_config"]["min_replicas"]
    # Kubernetes knows of no scale for these pods, and then takes nothing but a number here.
    assert set(spec) == {"minAvailable", "selector"} and 1 <= spec["minAvailable"] < least


def test_monitors_find_their_pods_and_ports() -> None:
    ray, model = documents("podmonitor")
    for monitor, wanted, port in ((ray, {"head", "worker"}, "metrics"), (model, {"worker"}, "serve")):
        selector = monitor["spec"]["selector"]
        assert {name for name, pod in pods().items() if selects(selector, pod["metadata"]["labels"])} == wanted
        assert [it["port"] for it in monitor["spec"]["podMetricsEndpoints"]] == [port]
    (endpoint,) = model["spec"]["podMetricsEndpoints"]
    assert endpoint["authorization"]["credentials"] == {"name": "fusion-automl-prometheus", "key": "token"}


def test_everything_lies_in_one_namespace_and_is_applied() -> None:
    listed = documents("kustomization")[0]
    names = {path.name for path in KUBERAY.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(listed["resources"]) == names
    assert [name for it in listed["configMapGenerator"] for name in it["files"]] == ["grafana-dashboard.json"]
    objects = [it for name in names for it in yaml.safe_load_all((KUBERAY / name).read_text())]
    named = {it["metadata"].get("namespace") for it in objects if it["kind"] != "Namespace"}
    assert named == {one("Namespace")["metadata"]["name"]}
    accounts = {it["metadata"]["name"] for it in objects if it["kind"] == "ServiceAccount"}
    assert accounts == {pods()[kind]["spec"]["serviceAccountName"] for kind in ("head", "worker")}
