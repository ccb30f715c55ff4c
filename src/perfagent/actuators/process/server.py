"""What an engine's server says over HTTP: whether it answers, and whether anybody still waits for it."""

import socket

import httpx

from perfagent.actuators.process.engine import Engine
from perfagent.domain.errors import Unavailable, Unreachable
from perfagent.domain.metric import Metric
from perfagent.ports import Scraper

ANSWERS_WITHIN_S = 5.0
"""An assumption: a busy server's health page takes tenths of a second."""


async def answers(client: httpx.AsyncClient, engine: Engine) -> bool:
    """Whether it serves: its health is good, and the list of models is there, or is closed to us."""
    try:
        health = await client.get(f"{engine.target.url}/health", timeout=ANSWERS_WITHIN_S)
        if not health.is_success:
            return False
        models = await client.get(f"{engine.target.url}/v1/models", timeout=ANSWERS_WITHIN_S)
    except httpx.HTTPError:
        return False
    return not models.is_server_error


async def idle(scraper: Scraper, engine: Engine) -> bool:
    """Whether no request is running or waiting; where nobody listens any more there is none either."""
    try:
        snapshot = await scraper.scrape(engine.target, engine.engine)
    except Unreachable:
        return True
    except Unavailable:
        return False
    gauges = (snapshot.scalars.get(metric) for metric in (Metric.RUNNING, Metric.WAITING))
    return all(gauge is not None and sum(gauge.values()) == 0 for gauge in gauges)


def port_is_free(port: int) -> bool:
    """Whether nobody listens there, on loopback or on all addresses."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
