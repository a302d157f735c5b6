"""The screening service: can this order be fulfilled?"""

from typing import Protocol

from domain.errors import Declined
from domain.model import Address, Items
from orchestration.gateways.http_partner import HttpPartner
from orchestration.gateways.simulation import SimulatedPartner

UNKNOWN_SKU = "UNKNOWN"
"""The simulation declines an order with an item of this sku."""


class Screening(Protocol):
    """Port; see ``sales.Sales`` for what holds for all partners."""

    async def validate(self, key: str, order_id: str, items: Items, address: Address) -> None:
        """Return when the order can be fulfilled; raise ``Declined`` when it cannot."""
        ...


class HttpScreening(HttpPartner):
    """``POST /screenings`` with order_id, items and address."""

    async def validate(self, key: str, order_id: str, items: Items, address: Address) -> None:
        """See the port."""
        body = {
            "order_id": order_id,
            "items": [item.model_dump() for item in items],
            "address": address.model_dump(),
        }
        await self.post("/screenings", key, body)


class SimulatedScreening(SimulatedPartner):
    """Declines what it has never heard of."""

    async def validate(
        self,
        key: str,  # noqa: ARG002
        order_id: str,  # noqa: ARG002
        items: Items,
        address: Address,  # noqa: ARG002
    ) -> None:
        """See the port."""

        async def judge() -> None:
            if any(item.sku == UNKNOWN_SKU for item in items):
                raise Declined(f"nobody sells sku {UNKNOWN_SKU}")

        await self.answer(judge)
