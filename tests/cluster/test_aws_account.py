"""What `ray up cluster/aws.yaml` makes of an account with `aws-account.yaml`: Ray's own launcher on a simulated AWS."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import CLUSTER, read

TEMPLATE = (CLUSTER / "aws-account.yaml").read_text()
PUBLIC_IMAGE = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
REGION = read("aws")["provider"]["region"]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """An empty account in which the template was deployed, as a boto3 session."""
    import boto3
    from moto import mock_aws

    monkeypatch.setenv("HOME", str(tmp_path))  # Ray keeps the key that it makes in ~/.ssh
    for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": REGION}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        session = boto3.Session(region_name=REGION)
        image = session.client("ec2").describe_images()["Images"][0]["ImageId"]
        session.client("ssm").put_parameter(Name="/image", Value=image, Type="String")
        assert TEMPLATE.count(PUBLIC_IMAGE) == 1
        session.client("cloudformation").create_stack(
            StackName="fusion-automl",
            TemplateBody=TEMPLATE.replace(PUBLIC_IMAGE, "/image"),
            Parameters=[{"ParameterKey": "Bucket", "ParameterValue": "my-bucket"}],
            Capabilities=["CAPABILITY_IAM"],
        )
        yield session


def test_ray_launches_it_without_an_open_port(account: Any) -> None:
    from ray.autoscaler._private.providers import _NODE_PROVIDERS
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(read("aws"))
    launcher = _NODE_PROVIDERS["aws"](config["provider"])
    config = launcher.fillout_available_node_types_resources(config)
    validate_config(config)
    config = launcher.bootstrap_config(config)
    kinds = config["available_node_types"]
    assert {name: kind["resources"].get("CPU") for name, kind in kinds.items()} == {"head": 0, "cpu": 16, "gpu": 8}
    assert kinds["gpu"]["resources"]["accelerator_type:L4"] == 1

    provider = launcher(config["provider"], config["cluster_name"])
    for name, kind in kinds.items():
        tags = {"ray-node-type": "head" if name == "head" else "worker", "ray-user-node-type": name}
        provider.create_node(copy.deepcopy(kind["node_config"]), tags, 1)
    ec2 = account.client("ec2")
    launched = {
        tag["Value"]: instance
        for reservation in ec2.describe_instances()["Reservations"]
        for instance in reservation["Instances"]
        for tag in instance["Tags"]
        if tag["Key"] == "ray-user-node-type"
    }
    market = {name: instance.get("InstanceLifecycle") for name, instance in launched.items()}
    assert market == {"head": None, "cpu": "spot", "gpu": "spot"}
    profiles = {name: instance["IamInstanceProfile"]["Arn"].split("/")[1] for name, instance in launched.items()}
    assert "HeadProfile" in profiles["head"] and "WorkerProfile" in profiles["cpu"] == profiles["gpu"]

    members = {group["GroupId"] for instance in launched.values() for group in instance["SecurityGroups"]}
    (group,) = ec2.describe_security_groups(GroupIds=sorted(members))["SecurityGroups"]
    (rule,) = group["IpPermissions"]
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [group["GroupId"]]
    assert rule["IpRanges"] == rule["Ipv6Ranges"] == rule["PrefixListIds"] == []


def statements(client: Any) -> Iterator[dict[str, Any]]:
    """What the template's roles may do."""
    for role in client.list_roles()["Roles"]:
        for name in client.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
            policy = client.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
            yield from ast.literal_eval(policy)["Statement"]  # the simulation has this one as Python's text
    for managed in client.list_policies(Scope="Local")["Policies"]:
        version = client.get_policy_version(PolicyArn=managed["Arn"], VersionId=managed["DefaultVersionId"])
        yield from version["PolicyVersion"]["Document"]["Statement"]


def test_rights_are_named_one_by_one(account: Any) -> None:
    everywhere: set[str] = set()
    found: dict[str, list[dict[str, Any]]] = {}
    for statement in statements(account.client("iam")):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not [action for action in actions if "*" in action]
        for action in actions:
            found.setdefault(action, []).append(statement)
        if statement["Resource"] == "*":
            everywhere.update(actions)
    assert everywhere == {
        *(
            "ec2:DescribeInstances",
            "ec2:DescribeInstanceStatus",
            "ec2:DescribeInstanceTypes",
            "ecr:GetAuthorizationToken",
        )
    }
    (ending,) = found["ec2:TerminateInstances"]
    assert ending["Condition"] == {"StringEquals": {"aws:ResourceTag/ray-cluster-name": "fusion-automl"}}
    (passing,) = found["iam:PassRole"]
    assert "WorkerRole" in passing["Resource"]
    assert all("my-bucket" in statement["Resource"] for statement in [*found["s3:GetObject"], *found["s3:PutObject"]])


def test_the_template_passes_cloudformations_linter() -> None:
    from cfnlint.api import lint_all

    found = {
        f"{match.rule.id} {match.message}" for match in lint_all(TEMPLATE) if match.rule.severity != "informational"
    }
    assert found == set()
