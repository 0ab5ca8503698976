"""`emu-planner serve`: the model behind a gRPC socket. Also the ROS executable `plan_service`."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from emu_planner.cli.arguments import positive
from emu_planner.cli.model import add_model_arguments, is_follower, load_planner
from emu_planner.plan import Planner
from emu_planner.service.config import DEFAULT_ADDRESS, ServiceConfig
from emu_planner.service.logs import log_to_stderr
from emu_planner.service.server import serve
from emu_planner.wire.credentials import CredentialsError
from emu_planner.wire.tracing import Tracing

if TYPE_CHECKING:
    from emu_planner.service.metrics import Metrics

_HOST, _, _PORT = DEFAULT_ADDRESS.rpartition(":")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    add_model_arguments(parser)
    parser.add_argument("--host", default=_HOST, help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=int(_PORT), help="0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--max-sessions",
        type=positive,
        metavar="N",
        default=ServiceConfig.max_sessions,
        help="clients at once (default: %(default)s)",
    )
    parser.add_argument(
        "--max-plans",
        type=positive,
        metavar="N",
        default=ServiceConfig.max_running_plans,
        help="plans at once, which share the model's passes; further ones wait in their order. Memory for "
        "so many is taken at the start (default: %(default)s)",
    )
    parser.add_argument(
        "--resume-window",
        type=float,
        metavar="S",
        default=ServiceConfig.resume_window_s,
        help="how long a plan outlives its client's link, s; 0: not at all (default: %(default)s)",
    )
    parser.add_argument(
        "--metrics-port", type=int, metavar="PORT", help="answer Prometheus on 127.0.0.1:PORT/metrics"
    )
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="json: one object a line, with the session that it is about (default: %(default)s)",
    )
    secrets = parser.add_argument_group("who may call, over an encrypted link (docs/security.md)")
    secrets.add_argument("--tls-certificate", type=Path, metavar="PEM", help="the service's certificate")
    secrets.add_argument("--tls-key", type=Path, metavar="PEM", help="its key")
    secrets.add_argument(
        "--client-ca", type=Path, metavar="PEM", help="ask clients for a certificate that this one signed"
    )
    secrets.add_argument(
        "--tokens", type=Path, metavar="FILE", help="ask clients for a token of `emu-planner tokens`"
    )
    secrets.add_argument(
        "--insecure",
        action="store_true",
        help="serve other machines although the link is plain or nobody is asked who they are",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. 2: wrong arguments or checkpoint; 3: the port is taken."""
    log_to_stderr(as_json=args.log_format == "json")
    if is_follower():  # it makes the passes of the first process, which alone serves
        try:
            load_planner(args, plans=args.max_plans)
        except ValueError as error:
            print(f"emu-planner serve: {error}", file=sys.stderr)
        return 2
    begun_s = time.monotonic()
    unusable: list[ValueError] = []

    def load() -> Planner:
        try:
            planner, device = load_planner(args, plans=args.max_plans)
        except ValueError as error:
            unusable.append(error)
            raise
        seconds = time.monotonic() - begun_s
        print(f"ready: {args.checkpoint} on {device}, loaded in {seconds:.1f} s", flush=True)
        return planner if metrics is None else metrics.measured(planner)

    metrics = None
    try:
        config = ServiceConfig(
            address=f"{args.host}:{args.port}",
            insecure=args.insecure,
            tls_certificate=args.tls_certificate,
            tls_key=args.tls_key,
            client_ca=args.client_ca,
            tokens=args.tokens,
            max_sessions=args.max_sessions,
            max_running_plans=args.max_plans,
            resume_window_s=args.resume_window,
            model=Path(args.checkpoint).name,
        )
        tracing = Tracing.from_environment("emu_planner.service")
    except ValueError as error:
        print(f"emu-planner serve: {error}", file=sys.stderr)
        return 2
    try:
        metrics = _serve_metrics(args.metrics_port)
        serve(load, replace(config, model_version=_version(args.checkpoint)), metrics, tracing)
    except OSError as error:
        print(f"emu-planner serve: {error}", file=sys.stderr)
        return 3
    except ValueError as error:
        if not isinstance(error, CredentialsError) and error not in unusable:
            raise
        print(f"emu-planner serve: {error}", file=sys.stderr)
        return 2
    return 0


def _version(checkpoint: str) -> str:
    """The fingerprint of a checkpoint on this machine; empty for one of the hub, or a broken one."""
    from emu_planner.model.checkpoint import EMBEDDED, CheckpointError, fingerprint, resolve

    if checkpoint not in EMBEDDED and not Path(checkpoint).expanduser().is_dir():
        return ""
    try:
        return fingerprint(resolve(checkpoint))
    except CheckpointError:
        return ""  # loading it says what is wrong


def _serve_metrics(port: int | None) -> "Metrics | None":
    """Metrics that answer on that port. OSError: it is taken."""
    if port is None:
        return None
    from emu_planner.service.metrics import Metrics

    metrics = Metrics()
    try:
        print(f"metrics: http://127.0.0.1:{metrics.serve('127.0.0.1', port)}/metrics", flush=True)
    except OSError as error:
        raise OSError(f"cannot listen on port {port} for metrics: {error.strerror}") from error
    return metrics


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `plan_service`; ROS's own arguments are for nodes and do nothing here."""
    given = list(sys.argv[1:] if argv is None else argv)
    if "--ros-args" in given:
        given = given[: given.index("--ros-args")]
    parser = argparse.ArgumentParser(prog="plan_service", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(given))


if __name__ == "__main__":
    sys.exit(main())
