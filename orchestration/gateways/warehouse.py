"""The warehouse: packs the parcel and puts the label on."""

from typing import Protocol

from domain.model import Address, Items
from orchestration.gateways.http_partner import HttpPartner
from orchestration.gateways.simulation import SimulatedPartner


class Warehouse(Protocol):
    """Port; see ``sales.Sales`` for what holds for all partners."""

    async def prepare(
        self, key: str, order_id: str, shipment_id: str, items: Items, address: Address
    ) -> None:
        """Pack the parcel and put its label on."""
        ...


class HttpWarehouse(HttpPartner):
    """``POST /shipments`` with shipment_id, order_id, items and address."""

    async def prepare(
        self, key: str, order_id: str, shipment_id: str, items: Items, address: Address
    ) -> None:
        """See the port."""
        body = {
            "shipment_id": shipment_id,
            "order_id": order_id,
            "items": [item.model_dump() for item in items],
            "address": address.model_dump(),
        }
        await self.post("/shipments", key, body)


class SimulatedWarehouse(SimulatedPartner):
    """Packs everything."""

    async def prepare(
        self,
        key: str,
        order_id: str,
        shipment_id: str,
        items: Items,  # noqa: ARG002
        address: Address,
    ) -> None:
        """See the port."""
        detail = {"shipment_id": shipment_id, "address": address.model_dump()}
        await self.once(key, "prepare", order_id, detail)
