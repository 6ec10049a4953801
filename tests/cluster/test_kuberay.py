"""The manifests for KubeRay: valid, without rights, closed to the outside."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.conftest import CLUSTER, read

UNITS = {"Mi": 1024**2, "Gi": 1024**3}
MARKETS = {"karpenter.sh/capacity-type", "eks.amazonaws.com/capacityType", "cloud.google.com/gke-spot"}
Json = dict[str, Any]


def clusters() -> dict[str, Json]:
    return {
        "raycluster": read("kuberay/raycluster")["spec"],
        "rayjob": read("kuberay/rayjob")["spec"]["rayClusterSpec"],
    }


def shared() -> dict[tuple[str, str], Json]:
    """The objects of namespace.yaml by kind and name."""
    documents = yaml.safe_load_all((CLUSTER / "kuberay" / "namespace.yaml").read_text())
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def templates(spec: Json) -> dict[str, Json]:
    """The pods of a cluster by group."""
    return {"head": spec["headGroupSpec"]["template"]} | {
        group["groupName"]: group["template"] for group in spec["workerGroupSpecs"]
    }


def closed(schema: Any) -> Any:
    """The schema as the Kubernetes API checks it with strict field validation: a field that it does not name is refused."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    return {"additionalProperties": False, **inner} if "properties" in inner else inner


@pytest.mark.parametrize(("name", "crd"), [("raycluster", "rayclusters"), ("rayjob", "rayjobs")])
def test_kuberay_takes_the_manifest(name: str, crd: str, schemas: Path) -> None:
    from jsonschema import Draft7Validator

    schema = closed(json.loads((schemas / f"ray.io_v1_{crd}.json").read_text()))
    schema["properties"]["metadata"] = {"type": "object"}
    manifest = read(f"kuberay/{name}")
    check = Draft7Validator(schema)
    assert [f"{error.json_path}: {error.message}" for error in check.iter_errors(manifest)] == []
    manifest["spec"]["rayVersoin"] = "2.60.0"
    (error,) = check.iter_errors(manifest)
    assert "rayVersoin" in error.message


@pytest.mark.parametrize("name", clusters())
def test_token_is_asked_for_and_trials_stay_off_the_head(name: str) -> None:
    spec = clusters()[name]
    head = spec["headGroupSpec"]
    assert spec["authOptions"] == {"mode": "token"}  # without a secretName the operator makes the token
    assert (head["rayStartParams"]["num-cpus"], head["rayStartParams"]["num-gpus"]) == ("0", "0")
    assert spec["enableInTreeAutoscaling"] and spec["autoscalerOptions"]["version"] == "v2"


def test_dashboard_is_on_loopback_or_open_to_the_operator_alone() -> None:
    assert clusters()["raycluster"]["headGroupSpec"]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    policies = [document for (kind, _), document in shared().items() if kind == "NetworkPolicy"]
    labels = templates(clusters()["rayjob"])["head"]["metadata"]["labels"]
    chosen = [it["spec"] for it in policies if it["spec"]["podSelector"]["matchLabels"].items() <= labels.items()]
    assert len(chosen) == 2
    for rule in (rule for spec in chosen for rule in spec["ingress"]):
        (source,) = rule["from"]
        if "namespaceSelector" in source:
            assert source["podSelector"]["matchLabels"] == {"app.kubernetes.io/component": "kuberay-operator"}
            assert rule["ports"] == [{"port": 8265, "protocol": "TCP"}]
        else:
            assert source["podSelector"]["matchLabels"] == {"app.kubernetes.io/part-of": "fusion-automl"}


def test_every_pod_is_behind_the_policy() -> None:
    policy = shared()["NetworkPolicy", "fusion-automl"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    wanted = policy["podSelector"]["matchLabels"].items()
    pods = [template for spec in clusters().values() for template in templates(spec).values()]
    pods.append(read("kuberay/rayjob")["spec"]["submitterPodTemplate"])
    assert len(pods) == 7
    assert all(wanted <= pod["metadata"]["labels"].items() for pod in pods)
    open_ports = {port["port"] for rule in policy["egress"] if "to" not in rule for port in rule["ports"]}
    assert open_ports == {53, 443, 6443}


@pytest.mark.parametrize("name", clusters())
def test_nothing_is_offered_to_the_outside(name: str) -> None:
    head = clusters()[name]["headGroupSpec"]
    assert not {"serviceType", "enableIngress", "headService", "ingressOptions"} & set(head)
    for template in templates(clusters()[name]).values():
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(template["spec"])
        assert not [port for box in template["spec"]["containers"] for port in box.get("ports", [])]


@pytest.mark.parametrize("name", clusters())
def test_pods_have_no_rights(name: str) -> None:
    spec = clusters()[name]
    pods = {group: template["spec"] for group, template in templates(spec).items()}
    if name == "rayjob":
        pods["submitter"] = read("kuberay/rayjob")["spec"]["submitterPodTemplate"]["spec"]
    containers = [spec["autoscalerOptions"], *(box for pod in pods.values() for box in pod["containers"])]
    assert all(box["securityContext"]["capabilities"] == {"drop": ["ALL"]} for box in containers)
    assert all(box["securityContext"]["allowPrivilegeEscalation"] is False for box in containers)
    for group, pod in pods.items():
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is (group == "head")
        if group != "submitter":
            account = shared()["ServiceAccount", f"fusion-automl-{'head' if group == 'head' else 'worker'}"]
            assert pod["serviceAccountName"] == account["metadata"]["name"]
            assert account["automountServiceAccountToken"] is False
    assert shared()["Namespace", "fusion-automl"]["metadata"]["labels"] == {
        "pod-security.kubernetes.io/enforce": "restricted"
    }


def quantity(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", text).groups()  # type: ignore[union-attr]  # a quantity of another form fails
    return int(number) * UNITS[unit]


@pytest.mark.parametrize("name", clusters())
def test_requests_are_limits_and_trials_fit_in_them(name: str) -> None:
    spec = clusters()[name]
    boxes = [spec["autoscalerOptions"], *(pod["spec"]["containers"][0] for pod in templates(spec).values())]
    for box in boxes:
        assert box["resources"]["requests"] == box["resources"]["limits"]
        assert {"cpu", "memory"} <= set(box["resources"]["limits"])
    for group in spec["workerGroupSpecs"]:
        limit = quantity(group["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"])
        used = int(group["rayStartParams"]["memory"]) + int(group["rayStartParams"]["object-store-memory"])
        assert 0.8 * limit < used < 0.97 * limit


@pytest.mark.parametrize("name", clusters())
def test_workers_are_on_spot_machines_and_the_head_is_not(name: str) -> None:
    pods = templates(clusters()[name])
    assert set(pods) == {"head", "cpu", "gpu"}
    for group, template in pods.items():
        affinity = template["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        terms = [term["matchExpressions"] for term in affinity["nodeSelectorTerms"]]
        if group == "head":  # expressions of one term hold together: not a spot machine in anybody's words
            (expressions,) = terms
            assert {expression["operator"] for expression in expressions} == {"NotIn"}
        else:  # terms are alternatives: a spot machine in somebody's words
            expressions = [expression for (expression,) in terms]
            assert {expression["operator"] for expression in expressions} == {"In"}
        assert {expression["key"] for expression in expressions} > MARKETS
        assert {value.lower() for expression in expressions for value in expression["values"]} == {"spot", "true"}
    gpus = {
        group: pod["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for group, pod in pods.items()
    }
    assert gpus == {"head": None, "cpu": None, "gpu": "1"}
    assert pods["gpu"]["spec"]["containers"][0]["image"].endswith("-cuda")


@pytest.mark.parametrize("name", clusters())
def test_a_worker_drains_within_its_notice(name: str) -> None:
    for group in clusters()[name]["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        env = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}
        assert int(env["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]) < pod["terminationGracePeriodSeconds"]
        assert float(env["RAY_memory_usage_threshold"]) < 0.95  # Ray's own, where the kernel is often faster


def test_cluster_and_job_have_the_same_workers() -> None:
    cluster, job = clusters().values()
    assert cluster["workerGroupSpecs"] == job["workerGroupSpecs"]


@pytest.mark.parametrize(("status", "words"), [(0, ["fit", "--resume"]), (2, ["fit", "s3://my-bucket/train.parquet"])])
def test_job_begins_a_run_or_goes_on_with_it(status: int, words: list[str], tmp_path: Path) -> None:
    command = tmp_path / "fusion-automl"
    command.write_text(
        f'#!/bin/bash\necho "$@" >> {shlex.quote(str(tmp_path / "called"))}\n[[ $1 == fit ]] || exit {status}\n'
    )
    command.chmod(0o755)
    entrypoint = read("kuberay/rayjob")["spec"]["entrypoint"]
    # Ray's client takes the entrypoint as words and makes a command for a shell of them.
    for_shell = subprocess.list2cmdline(shlex.split(entrypoint))
    subprocess.run(["sh", "-c", for_shell], check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, timeout=60)
    asked, fitted = (tmp_path / "called").read_text().splitlines()
    run = shlex.split(asked)[-1]
    assert asked == f"jobs status {run}" and "/" in run
    assert fitted.split()[:2] == words and f"--out {run}" in fitted and "--address auto" in fitted
