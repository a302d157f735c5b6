"""Finds orders that nobody drives any more."""

from typing import Annotated

from pydantic import AwareDatetime, Field
from temporalio import activity

from domain.commands import StartOrder
from domain.model import Address, Model, OrderId
from orchestration.activities.base import Activities
from orchestration.contract import CommandMessage
from persistence.queries import Order, history, overdue_orders, unsettled_orders


class Look(Model):
    """One page of the orders whose clock ran out before ``overdue``."""

    overdue: AwareDatetime
    page: Annotated[int, Field(ge=0)] = 0


class Stranded(Model):
    """An order that may be stranded, and the start command it was made by."""

    order_id: OrderId
    start: CommandMessage


class ReconcileActivities(Activities):
    """Activities of ``ReconcileWorkflow``."""

    @activity.defn
    async def find_stranded(self, look: Look) -> list[Stranded]:
        """Return up to ``PAGE`` orders open though their clock ran out before ``look.overdue``.

        And as many that have ended and whose payment has been unclear since then. Fewer than
        ``PAGE`` in all: there are no further pages.
        """
        found = [
            *await overdue_orders(self.pool, look.overdue, look.page),
            *await unsettled_orders(self.pool, look.overdue, look.page),
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
