"""The carrier: takes the parcel. Once it has, nothing can be called back."""

from typing import Protocol

from pydantic import ConfigDict

from domain.errors import Declined
from domain.model import Address, Model, Text
from orchestration.gateways.http_partner import HttpPartner, understood
from orchestration.gateways.simulation import SimulatedPartner

REFUSED_ZIP = "00000"
"""The simulation does not deliver to this zip."""


class Pickup(Model):
    """The parcel is with the carrier."""

    model_config = ConfigDict(extra="ignore")

    tracking_number: Text


class Carrier(Protocol):
    """Port; see ``sales.Sales`` for what holds for all partners.

    The shipment id is the idempotency key of the dispatch: one pickup for each shipment.
    """

    async def dispatch(self, key: str, order_id: str, shipment_id: str, address: Address) -> Pickup:
        """Have the parcel picked up; ``Declined`` when refused or withdrawn before."""
        ...

    async def withdraw(self, key: str, order_id: str) -> Pickup | None:
        """See to it that the dispatch of this ``key`` does not happen from now on.

        Returns the pickup when it is too late. This is the one place where an unclear dispatch
        is decided.
        """
        ...


class HttpCarrier(HttpPartner):
    """``POST /pickups`` and ``POST /pickups/{key}/withdraw``."""

    async def dispatch(self, key: str, order_id: str, shipment_id: str, address: Address) -> Pickup:
        """See the port."""
        body = {
            "order_id": order_id,
            "shipment_id": shipment_id,
            "address": address.model_dump(),
        }
        return understood(Pickup, await self.post("/pickups", key, body))

    async def withdraw(self, key: str, order_id: str) -> Pickup | None:
        """See the port."""
        path, body = f"/pickups/{key}/withdraw", {"order_id": order_id}
        standing = await self.undo(path, f"{key}:withdraw", body)
        return None if standing is None else understood(Pickup, standing)


class SimulatedCarrier(SimulatedPartner):
    """Delivers anywhere but to ``REFUSED_ZIP``; dispatch and withdraw exclude each other."""

    async def dispatch(self, key: str, order_id: str, shipment_id: str, address: Address) -> Pickup:
        """See the port."""
        if address.zip == REFUSED_ZIP:
            raise Declined(f"the carrier does not deliver to zip {REFUSED_ZIP}")
        detail = {"tracking_number": f"TRK-{shipment_id}", "address": address.model_dump()}
        entry = await self.once(key, "dispatch", order_id, detail)
        if entry.operation == "withdraw":
            raise Declined("the dispatch was withdrawn")
        return Pickup.model_validate(entry.detail)

    async def withdraw(self, key: str, order_id: str) -> Pickup | None:
        """See the port."""
        entry = await self.once(key, "withdraw", order_id, {})
        return Pickup.model_validate(entry.detail) if entry.operation == "dispatch" else None
