"""Finds orders that nobody drives any more."""

from datetime import datetime

from temporalio import activity

from domain.commands import StartOrder
from domain.model import Address, Model, OrderId
from orchestration.activities.base import Activities
from orchestration.contract import CommandMessage
from persistence.queries import Order, history, overdue_orders, unsettled_orders


class Stranded(Model):
    """An order that may be stranded, and the start command it was made by."""

    order_id: OrderId
    start: CommandMessage


class ReconcileActivities(Activities):
    """Activities of ``ReconcileWorkflow``."""

    @activity.defn
    async def find_stranded(self, overdue: datetime) -> list[Stranded]:
        """Return up to 100 orders open though their clock ran out before ``overdue``.

        And as many that have ended and whose payment has been unclear since then.
        """
        found = [
            *await overdue_orders(self.pool, overdue),
            *await unsettled_orders(self.pool, overdue),
        ]
        return [await self._stranded(order) for order in found]

    async def _stranded(self, order: Order) -> Stranded:
        (received,) = await history(self.pool, order.order_id, limit=1)
        start = StartOrder(
            order_id=order.order_id,
            command_id=received.command_id,
            initial_address=Address.model_validate(order.address),
        )
        return Stranded(order_id=order.order_id, start=CommandMessage(command=start))
