"""The whole service with partners over HTTP that are away, then fail and hang by a seed."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from devstack import free_port
from ingest.processes import Role, running
from tests.e2e.test_cli import HOME, background, orders
from tests.support.rest import Rest
from tests.support.service import Service
from tests.support.waiting import until

PARTNERS = ("SALES", "SCREENING", "PAYMENTS", "WAREHOUSE", "CARRIER")
ORDERS = [f"HTTP-{number}" for number in range(8)]
DONE = ["charge", "confirm_shipped", "dispatch", "prepare"]


@pytest.fixture(scope="module")
async def environment(environment: dict[str, str]) -> dict[str, str]:
    """As for all, and partners over HTTP; time enough for a slow machine."""
    urls = {f"{partner}_URL": f"http://127.0.0.1:{free_port()}" for partner in PARTNERS}
    faults = {"SIMULATED_FAULTS": "flaky", "SIMULATED_SEED": "7"}
    return {
        **environment,
        **urls,
        **faults,
        "GATEWAY_MODE": "http",
        "WORKFLOW_TIMEOUT_SECONDS": "120",
    }


async def test_trouble_is_seen_while_a_step_is_retried_and_the_order_ships_when_it_is_over(
    service: Service, rest: Rest, tmp_path: Path
) -> None:
    first, *others = ORDERS
    following = background(rest, "start", first, "--address", HOME, "--wait")

    async def in_trouble() -> dict[str, Any]:
        response = await rest.http.get(f"/orders/{first}/status")
        status: dict[str, Any] = response.json()
        return status if response.is_success and status["attempts"] > 2 else {}

    status = await until(in_trouble)
    assert (status["state"], status["step"]) == ("received", "receive")
    assert rest.environment["SALES_URL"] in status["last_error"]
    assert 0 < status["seconds_left"] < 120
    assert "failed tries" in (await orders(rest, "status", first)).stdout

    partners = Role("partners", rest.environment, tmp_path / "partners.log", print)
    async with running([partners]):
        await asyncio.gather(*(rest.start(order) for order in others))
        told, _ = await asyncio.to_thread(following.communicate)
        assert following.returncode == 0, told
        assert "... receive · " in told
        for order in others:
            await rest.state(order, "shipped")

        async def once_each() -> bool:
            return await books(service) == dict.fromkeys(ORDERS, DONE)

        await until(once_each)
    assert "Traceback" not in (tmp_path / "partners.log").read_text()
    paid = await service.db.fetch("select distinct status from payments")
    assert [row["status"] for row in paid] == ["charged"]


async def books(service: Service) -> dict[str, list[str]]:
    """What the partners have really done for each order."""
    rows = await service.db.fetch(
        "select order_id, array_agg(operation order by operation) as done "
        "from partners.ledger group by order_id"
    )
    return {row["order_id"]: row["done"] for row in rows}
