"""Orders over real HTTP, with partners that fail, hang and forget to answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from devstack.ports import free_port
from ingest import partners
from ingest.settings import Settings
from orchestration import gateways
from orchestration.worker import workers
from tests.unit.orchestration.orders import Orders

ORDERS = 20


@pytest.fixture
async def urls(db_url: str) -> AsyncIterator[gateways.Urls]:
    """Where `orders partners` answers, with faults from a seed."""
    names = ("sales", "screening", "payments", "warehouse", "carrier")
    urls = {name: f"http://127.0.0.1:{free_port()}" for name in names}
    settings = Settings(
        db_url=db_url,
        simulated_faults="flaky",
        simulated_seed=3,
        **{f"{name}_url": url for name, url in urls.items()},  # type: ignore[arg-type]
    )
    stop, ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(partners.serve(settings, stop, ready.set))
    await ready.wait()
    yield gateways.Urls(**urls)
    stop.set()
    await serving


async def test_orders_ship_over_http_though_partners_are_flaky(
    unserved: Orders, urls: gateways.Urls
) -> None:
    orders = unserved
    async with gateways.http(urls) as over_http:
        served = workers(
            orders.client,
            orders.db,
            over_http,
            orders.task_queue,
            orders.policy.shipping_task_queue,
        )
        async with served[0], served[1]:
            names = [f"H{n}" for n in range(ORDERS)]
            await asyncio.gather(*(orders.start(name) for name in names))
            ends = await asyncio.gather(*(orders.ends(name) for name in names))
    assert ends == ["shipped"] * ORDERS
    for name in names:
        assert await orders.books(name) == ["charge", "prepare", "dispatch", "confirm_shipped"]
        assert await orders.payment(name) == "charged"
