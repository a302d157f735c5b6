"""What the ingest process shows of itself."""

import asyncio
import uuid

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from devstack import free_port
from domain.errors import OrderError
from tests.integration.ingest.conftest import MakeSettings
from tests.integration.ingest.harness import Commands, running, start
from tests.support.waiting import until


async def _metrics(client: httpx.AsyncClient) -> dict[str, float]:
    text = (await client.get("/metrics")).text
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_lag_outcomes_and_waiting_starts_can_be_read_while_it_works(
    commands: Commands, make_settings: MakeSettings
) -> None:
    port = free_port()
    settings = make_settings(metrics_port=port, max_orders_in_motion=2)
    run = uuid.uuid4().hex[:8]
    async with (
        running(settings, "ingest"),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        assert (await client.get("/ready")).json()["ready"] is True
        await commands.send(*(start(f"V-{run}-{n}") for n in range(6)))
        await commands.send_raw(b"junk")

        async def they_wait() -> bool:
            metrics = await _metrics(client)
            return (
                metrics["orders_ingest_waiting_starts"] == 4
                and metrics.get("orders_commands_total dead_lettered") == 1
                and sum(metrics.get(f"orders_ingest_lag {n}", 0) for n in range(4)) >= 4
            )

        await until(they_wait)
        metrics = await _metrics(client)
        assert metrics["orders_commands_total delivered"] == 2
        assert metrics["orders_ingest_unreceived_starts"] == 2
        assert metrics["orders_ingest_server_away Temporal"] == 0
        state = (await client.get("/ready")).json()
        assert state["waiting_starts"] == 4
        assert state["commands"] == {"delivered": 2, "dead_lettered": 1}
        assert sum(state["lag"].values()) >= 4


async def test_a_taken_port_is_said_in_one_line(make_settings: MakeSettings) -> None:
    taken = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    async with taken:
        port = taken.sockets[0].getsockname()[1]
        with pytest.raises(OrderError, match=f"cannot listen on 127.0.0.1:{port}.*METRICS_PORT"):
            async with running(make_settings(metrics_port=port), "ingest"):
                pass
