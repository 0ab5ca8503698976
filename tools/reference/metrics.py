"""The metrics that `emu-planner serve --metrics-port` answers, from a real registry after a real plan."""

from emu_planner.cli.bench_load_clients import robot_view
from emu_planner.cli.paced_service import PacedPlanner
from emu_planner.plan import Still, Task
from emu_planner.service.config import ServiceConfig
from emu_planner.service.metrics import Metrics
from emu_planner.service.session import ServiceState
from emu_planner.service.slots import RunSlots
from tools.reference.markdown import code, plain, table


def page() -> str:
    """The whole page."""
    metrics = Metrics()
    metrics.watch(ServiceState(ServiceConfig(), RunSlots(1)))
    # labels are there once something was counted under them
    for _ in metrics.measured(PacedPlanner(steps=2)).plan(
        Task("stack"), Still(robot_view(("camera",), 16, 16))
    ):
        pass
    rows = []
    for family in metrics.registry.collect():
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append((code(name), family.type, ", ".join(map(code, labels)), plain(family.documentation)))
    return f"""# Metrics

What `emu-planner serve --metrics-port PORT` answers at `http://127.0.0.1:PORT/metrics`, for Prometheus.
`deploy/grafana.json` shows them. None holds words, pictures or names of a client.

{table(("metric", "type", "labels", "meaning"), rows)}
A histogram has `_bucket`, `_sum` and `_count`. The label `reason` is a plan's finish reason or, where it
failed, its error code; `abandoned` is a plan whose reader went.
"""
