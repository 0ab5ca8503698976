"""Whether the service of this machine can plan, by its metrics: python healthcheck.py METRICS_PORT.

Exit status 0: its model is loaded and it is not about to stop; 1: it is not so, with the reason in words. The
metrics are on the loopback without TLS or token, so this needs neither. Standard library only.
"""

import sys
import urllib.request

TIMEOUT_S = 3


def main() -> None:
    """Ask, and end the process with what is wrong."""
    url = f"http://127.0.0.1:{int(sys.argv[1])}/metrics"
    # a proxy of the environment is not for this machine
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            lines = answer.read().decode().splitlines()
    except OSError as error:
        sys.exit(f"nobody answers at {url}: {error}")
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    for name, wanted, reason in (("ready", 1, "the model is not loaded"), ("draining", 0, "it stops")):
        if float(values.get(f"emu_planner_{name}", "nan")) != wanted:
            sys.exit(reason)


if __name__ == "__main__":
    main()
