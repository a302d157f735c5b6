"""ReconcileWorkflow: takes up orders that stayed open though nobody drives them.

A Temporal Schedule runs it. An order is stranded when its clock ran out well before and its row
is still open, or it has ended and its payment is not settled: its workflow was terminated, cut
off by the execution timeout, or lost with Temporal's data. The cure is the order's own story:
its workflow is started again with its own start command. Every step is idempotent by its key,
and the time is up, so it undoes what was done and records the end. A workflow that still runs
under the order's id is not disturbed: Temporal refuses the second one. Orders that are overdue and
driven all the same stay in the list, so further pages are looked at. One that moves up a page
meanwhile, since others were settled, is found by the next look.
"""

from typing import Final

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from orchestration import timing
    from orchestration.activities.reconcile import Look, ReconcileActivities, Stranded
    from orchestration.contract import (
        COMMAND_SIGNAL,
        ORDER_WORKFLOW,
        RECONCILE_WORKFLOW,
        OrderPolicy,
        workflow_id,
    )
    from orchestration.workflows.steps import Steps
    from persistence.queries import PAGE

PAGES: Final = 10
"""Of one look; more orders than that are stuck only where much else is wrong."""

PAGES_ON: Final = "page-on"
"""Patch, 2026-11-28: see docs/workflows.md for when it may go."""


@workflow.defn(name=RECONCILE_WORKFLOW)
class ReconcileWorkflow:
    """One look at all orders."""

    @workflow.run
    async def run(self, policy: OrderPolicy) -> int:
        """Return how many orders were taken up again."""
        overdue = workflow.now() - timing.STRANDED_AFTER
        taken_up = 0
        for page in range(PAGES):
            look = Look(overdue=overdue, page=page)
            stranded = await Steps().take(ReconcileActivities.find_stranded, look)
            taken_up += sum([await self._take_up(order, policy) for order in stranded])
            if len(stranded) < PAGE or not workflow.patched(PAGES_ON):
                break
        return taken_up

    async def _take_up(self, order: Stranded, policy: OrderPolicy) -> bool:
        try:
            driven = await workflow.start_child_workflow(
                ORDER_WORKFLOW,
                policy,
                id=workflow_id(order.order_id),
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                task_timeout=timing.WORKFLOW_TASK_TIMEOUT,
                execution_timeout=timing.execution_timeout(policy),
            )
        except WorkflowAlreadyStartedError:
            return False
        await driven.signal(COMMAND_SIGNAL, order.start)
        workflow.logger.warning("order %s was stranded and is taken up again", order.order_id)
        return True
