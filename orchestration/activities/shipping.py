"""The steps of one shipment: prepare, dispatch, and withdraw where dispatch stayed unclear."""

from temporalio import activity

from domain.events import Dispatched, ShipmentPrepared
from domain.model import Address, Items
from orchestration.activities.base import Activities, Budget, OrderInput


class PrepareShipment(OrderInput):
    """A parcel to be packed, with its label."""

    shipment_id: str
    items: Items
    address: Address


class DispatchShipment(OrderInput):
    """A parcel to be picked up."""

    shipment_id: str
    address: Address


class WithdrawShipment(OrderInput):
    """A parcel not to be picked up after all."""

    shipment_id: str


class ShippingActivities(Activities):
    """Activities of ``ShippingWorkflow``."""

    @activity.defn
    async def prepare(self, parcel: PrepareShipment) -> None:
        """Have the parcel packed with this label; raises ``Declined``."""
        name = f"prepare:{parcel.shipment_id}"
        await self.ask(
            "warehouse.prepare",
            Budget(),
            lambda: self.gateways.warehouse.prepare(
                f"{parcel.order_id}:{name}",
                parcel.order_id,
                parcel.shipment_id,
                parcel.items,
                parcel.address,
            ),
        )
        data = ShipmentPrepared(shipment_id=parcel.shipment_id, address=parcel.address)
        await self.write(name, parcel, data)

    @activity.defn
    async def dispatch(self, parcel: DispatchShipment) -> str:
        """Have the parcel picked up and return its tracking number; raises ``Declined``."""
        key = _dispatch_key(parcel.order_id, parcel.shipment_id)
        pickup = await self.ask(
            "carrier.dispatch",
            Budget(),
            lambda: self.gateways.carrier.dispatch(
                key, parcel.order_id, parcel.shipment_id, parcel.address
            ),
        )
        await self._record_dispatched(parcel, parcel.shipment_id, pickup.tracking_number)
        return pickup.tracking_number

    @activity.defn
    async def withdraw(self, parcel: WithdrawShipment) -> str | None:
        """Decide an unclear dispatch: return the tracking number if it happened, else ``None``.

        After ``None`` it will not happen any more.
        """
        key = _dispatch_key(parcel.order_id, parcel.shipment_id)
        pickup = await self.insist(
            "carrier.withdraw",
            Budget(),
            lambda: self.gateways.carrier.withdraw(key, parcel.order_id),
        )
        if pickup is None:
            return None
        await self._record_dispatched(parcel, parcel.shipment_id, pickup.tracking_number)
        return pickup.tracking_number

    async def _record_dispatched(
        self, order: OrderInput, shipment_id: str, tracking_number: str
    ) -> None:
        data = Dispatched(shipment_id=shipment_id, tracking_number=tracking_number)
        await self.write(f"dispatched:{shipment_id}", order, data)


def _dispatch_key(order_id: str, shipment_id: str) -> str:
    return f"{order_id}:dispatch:{shipment_id}"
