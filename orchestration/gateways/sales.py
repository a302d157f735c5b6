"""The sales system: knows what was ordered, and is told when it has been shipped."""

import hashlib
from typing import Protocol

from pydantic import ConfigDict

from domain.model import Currency, Item, Items, Model
from orchestration.gateways.http_partner import HttpPartner, understood
from orchestration.gateways.simulation import SimulatedPartner


class Basket(Model):
    """What was ordered; unit prices in minor units of ``currency``."""

    model_config = ConfigDict(extra="ignore")

    items: Items
    currency: Currency


class Sales(Protocol):
    """Port. Every call may be repeated with the same ``key`` and has its effect once.

    Raises ``Declined`` when the partner says no, ``PartnerUnavailable`` when the outcome is
    unknown; that holds for all partners.
    """

    async def receive(self, key: str, order_id: str) -> Basket:
        """Return what was ordered."""
        ...

    async def confirm_shipped(self, key: str, order_id: str, tracking_number: str) -> None:
        """Tell that the order is on its way."""
        ...


class HttpSales(HttpPartner):
    """``GET /orders/{id}`` and ``POST /orders/{id}/shipped``."""

    async def receive(self, key: str, order_id: str) -> Basket:
        """See the port."""
        return understood(Basket, await self.get(f"/orders/{order_id}", key))

    async def confirm_shipped(self, key: str, order_id: str, tracking_number: str) -> None:
        """See the port."""
        await self.post(f"/orders/{order_id}/shipped", key, {"tracking_number": tracking_number})


class SimulatedSales(SimulatedPartner):
    """Knows every order: one or two things worth less than 500.00 together, by its id."""

    async def receive(self, key: str, order_id: str) -> Basket:  # noqa: ARG002
        """See the port."""
        return await self.answer(lambda: _basket(order_id))

    async def confirm_shipped(self, key: str, order_id: str, tracking_number: str) -> None:
        """See the port."""
        await self.once(key, "confirm_shipped", order_id, {"tracking_number": tracking_number})


async def _basket(order_id: str) -> Basket:
    digest = hashlib.sha256(order_id.encode()).digest()
    items = tuple(
        Item(
            sku=f"SKU-{digest[3 * n]:03d}",
            quantity=1 + digest[3 * n + 1] % 3,
            unit_price=500 + 25 * digest[3 * n + 2],
        )
        for n in range(1 + digest[31] % 2)
    )
    return Basket(items=items, currency="USD")
