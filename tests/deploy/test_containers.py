"""The container files name files, options, ports and services that exist; no container is started.

The health check is run for real, against real metrics.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from emu_planner.cli import serve
from emu_planner.service.config import DEFAULT_ADDRESS, ServiceConfig
from emu_planner.service.metrics import Metrics
from emu_planner.service.session import ServiceState
from emu_planner.service.slots import RunSlots
from tests.fakes import FakePlanner

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SET = {"CHECKPOINT": "/models/one", "SECRETS": "/etc/emu_planner", "GRAFANA_PASSWORD": "x"}


def dockerfile() -> list[tuple[str, str]]:
    """Its instructions: the word and the rest."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def compose(name: str = "compose.yaml", **variables: str) -> dict:
    """A compose file with its variables filled in as compose does; KeyError: one must be set and is not."""

    def fill(found: re.Match[str]) -> str:
        variable, kind, rest = found.groups()
        if variable in variables:
            return variables[variable]
        if kind == ":?":
            raise KeyError(rest)
        return rest

    text = (DEPLOY / name).read_text()
    return yaml.safe_load(re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", fill, text))


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return parser.parse_args(words)


def entry() -> list[str]:
    return json.loads(dict(dockerfile())["ENTRYPOINT"])


def test_what_is_copied_is_there_and_is_sent_to_the_builder():
    sent = [
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    copied = []
    for word, rest in dockerfile():
        if word == "COPY" and "--from" not in rest:
            copied += shlex.split(rest)[:-1]
    assert len(copied) > 5
    assert sorted(copied) == sorted(sent)
    for name in copied:
        assert (ROOT / name).exists(), name


def test_what_setup_reads_is_copied():
    copied = {name for word, rest in dockerfile() if word == "COPY" for name in shlex.split(rest)}
    for named in re.findall(
        r'"((?:package\.xml|resource|launch|requirements))', (ROOT / "setup.py").read_text()
    ):
        assert named in copied
    for named in re.findall(r"-r (\S+)", (DEPLOY / "Dockerfile").read_text()):
        assert (ROOT / named).is_file()


def test_both_stages_have_one_python_and_it_is_a_tested_one():
    bases = [rest.split()[0] for word, rest in dockerfile() if word == "FROM"]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.1[12]-slim-\w+", bases[0])


def test_the_container_starts_a_command_that_is_installed_as_a_plain_user():
    program, command, *words = entry()
    assert command == "serve"
    assert f'"{program} = emu_planner.cli.main:main"' in (ROOT / "setup.py").read_text()
    given = options(*words, *json.loads(dict(dockerfile())["CMD"]))
    assert given.checkpoint == "nano"
    assert dict(dockerfile())["USER"] == "10001"
    assert f":{dict(dockerfile())['EXPOSE']}" in DEFAULT_ADDRESS
    # the health check looks where the metrics are
    check = json.loads(dict(dockerfile())["HEALTHCHECK"].partition("CMD ")[2])
    assert Path(check[1]).name == "healthcheck.py"
    assert check[2] == str(given.metrics_port)


def test_compose_starts_a_service_that_is_encrypted_and_asks_for_tokens():
    planner = compose(**SET)["services"]["planner"]
    given = options(*entry()[2:], *planner["command"])
    # raises for an open address without certificate or tokens
    config = ServiceConfig(
        address=f"{given.host}:{given.port}",
        insecure=given.insecure,
        tls_certificate=given.tls_certificate,
        tls_key=given.tls_key,
        tokens=given.tokens,
    )
    assert not config.insecure
    mounts = dict(volume.split(":")[:2] for volume in planner["volumes"])
    assert mounts == {SET["CHECKPOINT"]: given.checkpoint, SET["SECRETS"]: str(given.tokens.parent)}
    assert all(volume.endswith(":ro") for volume in planner["volumes"])
    # the names that docs/security.md makes
    security = (ROOT / "docs" / "security.md").read_text()
    for path in (given.tls_certificate, given.tls_key, given.tokens):
        assert path.name in security
    assert f"{given.port}:{given.port}" in planner["ports"]
    build = planner["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert set(build["args"]) == {rest.split("=")[0] for word, rest in dockerfile() if word == "ARG"}
    assert int(planner["stop_grace_period"].rstrip("s")) > config.drain_timeout_s + config.stop_grace_s


def test_compose_says_which_variables_it_needs_and_the_page_explains_all():
    for missing in SET:
        with pytest.raises(KeyError):
            compose(**{name: value for name, value in SET.items() if name != missing})
    page = (ROOT / "docs" / "containers.md").read_text()
    for name in ("compose.yaml", "compose.cuda.yaml"):
        for variable in re.findall(r"\$\{(\w+)", (DEPLOY / name).read_text()):
            assert f"`{variable}`" in page


def test_prometheus_reads_the_service_in_its_own_network_and_grafana_reads_prometheus():
    services = compose(**SET)["services"]
    assert services["prometheus"]["network_mode"] == "service:planner"
    (scrape,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    port = options(*entry()[2:]).metrics_port
    assert scrape["static_configs"][0]["targets"] == [f"127.0.0.1:{port}"]
    (source,) = yaml.safe_load((DEPLOY / "grafana" / "datasources.yaml").read_text())["datasources"]
    assert source["url"] == "http://planner:9090"
    assert "127.0.0.1:9090:9090" in services["planner"]["ports"]
    board = json.loads((DEPLOY / "grafana.json").read_text())
    assert board["templating"]["list"][0]["query"] == source["type"]


def test_every_file_that_compose_mounts_is_there_and_dashboards_are_where_they_are_looked_for():
    mounts = {}
    for service in compose(**SET)["services"].values():
        for volume in service["volumes"]:
            source, target = volume.split(":")[:2]
            mounts[target] = source
            if source.startswith("."):
                assert (DEPLOY / source).is_file(), source
    (provider,) = yaml.safe_load((DEPLOY / "grafana" / "dashboards.yaml").read_text())["providers"]
    shown = [
        source for target, source in mounts.items() if target.startswith(provider["options"]["path"] + "/")
    ]
    assert shown == ["./grafana.json"]
    home = compose(**SET)["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert mounts[home] == "./grafana.json"


def test_images_of_others_have_a_version():
    for name in ("prometheus", "grafana"):
        assert re.search(r":v?\d+\.\d+\.\d+$", compose(**SET)["services"][name]["image"])


def test_the_gpu_goes_to_a_service_that_the_first_file_has():
    on_top = compose("compose.cuda.yaml")["services"]
    assert set(on_top) <= set(compose(**SET)["services"])
    (device,) = on_top["planner"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def check_health(port: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(DEPLOY / "healthcheck.py"), str(port)],
        capture_output=True,
        text=True,
        check=False,
        # a proxy that nobody runs
        env={**os.environ, "http_proxy": "http://127.0.0.1:1"},
    )
    return done.returncode, done.stdout + done.stderr


def test_the_health_check_tells_loading_ready_and_stopping_apart():
    metrics, state = Metrics(), ServiceState(ServiceConfig(), RunSlots(1))
    metrics.watch(state)
    port = metrics.serve("127.0.0.1", 0)
    assert check_health(port) == (1, "the model is not loaded\n")
    state.planner = FakePlanner()
    assert check_health(port) == (0, "")
    state.draining = True
    assert check_health(port) == (1, "it stops\n")


def test_the_health_check_of_nobody_fails_in_words():
    # a port of this machine that nobody listens on
    status, words = check_health(1)
    assert status == 1
    assert words.startswith("nobody answers at http://127.0.0.1:1/metrics")
