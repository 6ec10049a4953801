"""What all descriptions of clusters promise: Ray takes them, nobody gets in without the token, trials stay off the head."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import CLUSTER, RAY_UP, ROOT, locked, read

GIB = 1024**3
RAY = re.compile(r"(?:ray, version |rayVersion: |ray\[default\]==)(\d+\.\d+\.\d+)")
IMAGE = re.compile(r"(\S+)/fusion-automl:(\S+)-(cpu|cuda)\b")
DESCRIPTIONS = sorted(
    path
    for path in [*CLUSTER.rglob("*.yaml"), *CLUSTER.rglob("*.sbatch")]
    if path.name not in ("aws-account.yaml", "gcp-head-role.yaml", "namespace.yaml")
)
SECRETS = {
    "a key of AWS": re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "a token": re.compile(r"\b[0-9a-f]{32,}\b"),
    "a word after a telling name": re.compile(
        r"(?i)^[ \t-]*['\"]?[\w-]*(auth_token|password|secret_access_key)['\"]?[ \t]*[:=][ \t]*['\"]?[\w+/]{8,}",
        re.MULTILINE,
    ),
}


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(CLUSTER).as_posix() for path in paths]


def commands(config: dict[str, Any], key: str) -> str:
    return "\n".join(config[key])


def option(words: list[str], name: str) -> str:
    """The value of an option written as NAME=VALUE."""
    (value,) = (word.removeprefix(f"{name}=") for word in words if word.startswith(f"{name}="))
    return value


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_takes_the_file(name: str) -> None:
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(read(name))
    validate_config(config)
    assert [config["docker"]["image"], config["cluster_name"]] == [read(name)["metadata"]["cpu_image"], "fusion-automl"]
    with pytest.raises(ValidationError, match="idle_minutes"):
        validate_config({**config, "idle_minutes": 5})


@pytest.mark.parametrize("path", DESCRIPTIONS, ids=names(DESCRIPTIONS))
def test_ray_is_the_locked_one(path: Path) -> None:
    assert set(RAY.findall(path.read_text())) == {locked("ray")}


def test_the_readme_and_the_head_install_locked_versions() -> None:
    assert set(RAY.findall((CLUSTER / "README.md").read_text())) == {locked("ray")}
    assert f"boto3=={locked('boto3')}" in commands(read("aws"), "head_setup_commands")


def test_images_are_of_this_version_and_from_one_registry() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    found = {path.stem: IMAGE.findall(path.read_text()) for path in CLUSTER.rglob("*.yaml")}
    described = {name: images for name, images in found.items() if images}
    assert set(described) == {*RAY_UP, "raycluster", "rayjob"}
    for images in described.values():
        assert {flavour for _, _, flavour in images} == {"cpu", "cuda"}
        assert {tag for _, tag, _ in images} == {version}
        assert {registry.split()[-1] for registry, _, _ in images} == {"registry.example.com"}


@pytest.mark.parametrize("name", RAY_UP)
def test_head_holds_no_trials_and_its_dashboard_is_on_loopback(name: str) -> None:
    config = read(name)
    words = shlex.split(config["head_start_ray_commands"][-1])
    assert words[:3] == ["ray", "start", "--head"]
    assert option(words, "--dashboard-host") == "127.0.0.1"
    assert (option(words, "--num-cpus"), option(words, "--num-gpus")) == ("0", "0")
    assert "--dashboard-host" not in commands(config, "worker_start_ray_commands")
    if "available_node_types" in config:
        assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}


@pytest.mark.parametrize("name", RAY_UP)
def test_containers_ask_for_the_token_that_was_made_on_the_head(name: str) -> None:
    from ray.autoscaler.sdk import get_docker_host_mount_location

    config = read(name)
    options = config["docker"]["run_options"]
    env = dict(word.removeprefix("--env=").split("=") for word in options if word.startswith("--env="))
    (token,) = config["cluster_synced_files"]
    assert (env["RAY_AUTH_MODE"], env["RAY_AUTH_TOKEN_PATH"]) == ("token", token)
    # Ray copies a container's file to this place on the machine, before it starts the container.
    folder = Path(token).parent
    assert f"--volume={get_docker_host_mount_location(config['cluster_name'])}{folder}:{folder}:ro" in options


@pytest.mark.parametrize("name", RAY_UP)
def test_token_is_made_once_and_for_its_owner_alone(name: str, tmp_path: Path) -> None:
    script = "\n".join(read(name)["initialization_commands"][:2])
    place = "/tmp/ray_tmp_mount/fusion-automl/etc/fusion-automl"
    assert script.count(place) == 2
    for_test = script.replace(place, str(tmp_path / "a" / "b"))
    tokens = []
    for _ in range(2):
        subprocess.run(["bash", "-eu", "-c", f"umask 022\n{for_test}"], check=True, cwd=tmp_path, timeout=60)
        tokens.append((tmp_path / "a" / "b" / "auth_token").read_text().strip())
    assert re.fullmatch("[0-9a-f]{64}", tokens[0]) and tokens[0] == tokens[1]
    assert (tmp_path / "a" / "b" / "auth_token").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("name", "spot"), [("aws", "InstanceMarketOptions"), ("gcp", "scheduling")])
def test_workers_are_spot_machines_and_the_head_is_not(name: str, spot: str) -> None:
    types = read(name)["available_node_types"]
    bought = {"InstanceMarketOptions": ("MarketType", "spot"), "scheduling": ("provisioningModel", "SPOT")}[spot]
    assert spot not in types["head"]["node_config"]
    for group in ("cpu", "gpu"):
        assert bought in types[group]["node_config"][spot].items()
        assert types[group]["labels"] == {"ray.io/market-type": "spot"}
    assert "GPU" not in types["cpu"]["resources"] and types["cpu"]["min_workers"] > 0
    assert types["gpu"]["resources"]["GPU"] == 1 and types["gpu"]["docker"]["worker_image"].endswith("-cuda")


def test_machines_of_ones_own_show_their_gpus_by_themselves() -> None:
    config = read("onpremise")
    assert config["docker"]["worker_image"].endswith("-cuda")
    assert "disable_automatic_runtime_detection" not in config["docker"]
    assert "--num-gpus" not in commands(config, "worker_start_ray_commands")


@pytest.mark.parametrize("name", ["aws", "gcp"])
@pytest.mark.parametrize("group", ["cpu", "gpu"])
def test_trials_and_object_store_fit_into_the_container(name: str, group: str) -> None:
    config = read(name)
    kind = config["available_node_types"][group]
    start = shlex.split(config["worker_start_ray_commands"][-1])
    container = int(option(kind["docker"]["worker_run_options"], "--memory").removesuffix("g")) * GIB
    used = kind["resources"]["memory"] + int(option(start, "--object-store-memory"))
    assert 0.7 * container < used < 0.9 * container  # Ray ends a trial at 0.9 of what the container has


@pytest.mark.parametrize("name", RAY_UP)
def test_containers_have_few_rights(name: str) -> None:
    options = read(name)["docker"]["run_options"]
    assert {"--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(options)
    assert not [word for word in options if word.startswith(("--privileged", "--cap-add", "--user=0", "--user=root"))]


def test_places_that_are_named_more_than_once_are_the_same() -> None:
    aws, gcp = read("aws"), read("gcp")
    regions = re.findall(r"--region (\S+)", aws["auth"]["ssh_proxy_command"] + commands(aws, "initialization_commands"))
    assert regions == [aws["provider"]["region"]] * 2
    provider = gcp["provider"]
    assert (
        f"--project={provider['project_id']} --zone={provider['availability_zone']}" in gcp["auth"]["ssh_proxy_command"]
    )
    for kind in gcp["available_node_types"].values():
        (network,) = kind["node_config"]["networkInterfaces"]
        assert network["subnetwork"].startswith(f"projects/{provider['project_id']}/regions/{provider['region']}/")
        assert "accessConfigs" not in network  # no address that the internet can reach
        (account,) = kind["node_config"]["serviceAccounts"]
        assert account["email"].endswith(f"@{provider['project_id']}.iam.gserviceaccount.com")


def test_the_head_has_an_account_of_its_own_with_named_rights() -> None:
    types = read("gcp")["available_node_types"]
    accounts = {name: kind["node_config"]["serviceAccounts"][0]["email"] for name, kind in types.items()}
    assert accounts["cpu"] == accounts["gpu"] != accounts["head"]
    rights = read("gcp-head-role")["includedPermissions"]
    assert not [right for right in rights if not re.fullmatch(r"compute\.\w+\.\w+", right)]
    assert not [right for right in rights if re.search(r"IamPolicy|firewalls|networks\.(create|update)", right)]


@pytest.mark.parametrize("kind", SECRETS)
def test_no_file_holds_a_secret(kind: str) -> None:
    files = [path for path in CLUSTER.rglob("*") if path.is_file()]
    assert len(files) >= 10
    assert [path.name for path in files if SECRETS[kind].search(path.read_text())] == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("a key of AWS", "  aws_access_key_id: " + "AKIA" + "ABCDEFGHIJKLMNOP"),
        ("a private key", "-----BEGIN RSA PRIVATE " + "KEY-----"),
        ("a token", f"--env=RAY_AUTH_TOKEN={'0a' * 32}"),
        ("a word after a telling name", "stringData:\n  auth_token: supersecret1"),
        ("a word after a telling name", "    redis-password: " + "hunter2hunter2"),
    ],
)
def test_a_secret_would_be_found(kind: str, text: str) -> None:
    assert SECRETS[kind].search(text)
