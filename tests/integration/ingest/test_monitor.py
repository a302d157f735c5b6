"""What the ingest process shows of itself."""

import asyncio
import uuid

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from devstack import free_port
from domain.errors import OrderError
from ingest.lanes import Bounds
from tests.integration.ingest.conftest import MakeSettings
from tests.integration.ingest.harness import Commands, cancel, running, start
from tests.support.waiting import until


async def _metrics(client: httpx.AsyncClient) -> dict[str, float]:
    text = (await client.get("/metrics")).text
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_what_it_does_and_waits_for_can_be_read_while_it_works(
    commands: Commands, make_settings: MakeSettings
) -> None:
    port, more = free_port(), Bounds().held
    settings = make_settings(metrics_port=port, max_orders_in_motion=2)
    run = uuid.uuid4().hex[:8]
    async with (
        running(settings, "ingest"),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        assert (await client.get("/ready")).json()["ready"] is True
        await commands.send_raw(b"junk")
        await commands.send(*(start(f"V-{run}-{n}") for n in range(2)), partition=1)

        async def two_are_through() -> bool:
            return (await _metrics(client)).get("orders_commands_total delivered") == 2

        await until(two_are_through)
        await commands.send(*(start(f"V-{run}-{n}") for n in range(2, 2 + more)), partition=1)

        async def they_wait() -> bool:
            metrics = await _metrics(client)
            return (
                metrics["orders_ingest_waiting_starts"] == more
                and metrics.get("orders_commands_total dead_lettered") == 1
                and metrics.get("orders_ingest_lag 1", 0) >= more
                and metrics["orders_ingest_paused_partitions admission"] == 1
            )

        await until(they_wait)
        metrics = await _metrics(client)
        assert metrics["orders_ingest_unreceived_starts"] == 2
        assert metrics["orders_ingest_server_away Temporal"] == 0
        assert metrics["orders_ingest_lanes"] == metrics["orders_ingest_held"] == more
        assert metrics["orders_ingest_in_flight"] == 0
        assert metrics["orders_ingest_paused_partitions busy"] == 0
        state = (await client.get("/ready")).json()
        assert state["waiting_starts"] == state["held"] == state["lanes"] == more
        assert (state["paused_partitions"], state["pause_reason"]) == ([1], "admission")
        assert state["commands"] == {"delivered": 2, "dead_lettered": 1}
        assert state["lag"]["1"] >= more


async def test_the_log_says_of_which_record_it_speaks(
    commands: Commands, make_settings: MakeSettings
) -> None:
    order_id = f"L-{uuid.uuid4().hex[:8]}"
    with capture_logs() as logs:
        async with running(make_settings(), "ingest"):
            await commands.send(cancel(order_id, command_id="stop"), partition=2)
            await commands.send_raw(b"junk", partition=2)
            await commands.all_committed()
    told = {entry["event"]: entry for entry in logs}
    where = {"topic": commands.settings.commands_topic, "partition": 2}
    ids = {"order_id": order_id, "command_id": "stop"}
    assert told["delivered"].items() >= {**where, "offset": 0, **ids}.items()
    assert told["dead letter"].items() >= {**where, "offset": 1}.items()


async def test_a_taken_port_is_said_in_one_line(make_settings: MakeSettings) -> None:
    taken = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    async with taken:
        port = taken.sockets[0].getsockname()[1]
        with pytest.raises(OrderError, match=f"cannot listen on 127.0.0.1:{port}.*METRICS_PORT"):
            async with running(make_settings(metrics_port=port), "ingest"):
                pass
