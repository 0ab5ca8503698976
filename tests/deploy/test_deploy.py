"""The files for operators name options and metrics that exist."""

import argparse
import configparser
import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from emu_planner.cli import ray_serve, serve
from emu_planner.plan import Generation, Still, Task, collect
from emu_planner.service.config import DEFAULT_ADDRESS, ServiceConfig
from emu_planner.service.metrics import Metrics
from emu_planner.service.slots import RunSlots
from emu_planner.service.state import ServiceState
from tests.fakes import FakePlanner, fake_observation

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_unit_starts_the_service_with_options_that_it_has():
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read_string((DEPLOY / "emu-planner.service").read_text().replace("\\\n", " "))
    program, command, *options = shlex.split(unit["Service"]["ExecStart"])
    assert (Path(program).name, command) == ("emu-planner", "serve")
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    given = parser.parse_args(options)
    port = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]
    assert port["static_configs"][0]["targets"] == [f"127.0.0.1:{given.metrics_port}"]


def test_every_metric_of_the_dashboard_is_shown_by_the_service():
    metrics = Metrics()
    metrics.watch(ServiceState(ServiceConfig(), RunSlots(1)))
    task = Task("stack the blocks", Generation(seed=1))
    collect("", metrics.measured(FakePlanner()).plan(task, Still(fake_observation())))
    shown = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    board = json.loads((DEPLOY / "grafana.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"emu_planner_\w+", target["expr"])
    }
    assert asked
    assert asked <= shown
    # and nothing that the service shows is left out, but what belongs to a histogram
    assert {name for name in shown if not name.endswith(("_created", "_sum", "_count"))} - asked == {
        "emu_planner_steps_total"
    }


def test_what_ray_serve_is_told_to_import_is_there_and_its_arguments_are_known(monkeypatch):
    told = yaml.safe_load((DEPLOY / "ray_serve.yaml").read_text())
    for name in told["grpc_options"]["grpc_servicer_functions"]:
        module, _, function = name.rpartition(".")
        assert callable(getattr(importlib.import_module(module), function))
    (application,) = told["applications"]
    module, _, function = application["import_path"].partition(":")
    monkeypatch.setitem(sys.modules, "ray.serve", None)
    # it comes as far as Ray: every argument is known
    with pytest.raises(ValueError, match="pip install"):
        getattr(importlib.import_module(module), function)(application["args"])
    assert [one["name"] for one in application["deployments"]] == [ray_serve.DEPLOYMENT]
    assert told["grpc_options"]["grpc_servicer_functions"] == [ray_serve.SERVICER]
    assert f":{told['grpc_options']['port']}" in DEFAULT_ADDRESS
