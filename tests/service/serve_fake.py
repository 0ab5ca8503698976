"""Serve a FakePlanner in a process of its own: python serve_fake.py ADDRESS TOKEN_DELAY_S."""

import logging
import sys

from emu_planner.service.config import ServiceConfig
from emu_planner.service.server import serve
from tests.fakes import FakePlanner

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    planner = FakePlanner(steps=100, token_delay_s=float(sys.argv[2]))
    serve(lambda: planner, ServiceConfig(address=sys.argv[1], drain_timeout_s=0.5))
