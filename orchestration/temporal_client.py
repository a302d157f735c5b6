"""The one module that imports Temporal's client: connect, deliver a command, exit cleanly."""

import atexit
import re
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Final

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.common import (
    QueryRejectCondition,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import Rejected, Unavailable
from orchestration import timing
from orchestration.contract import (
    COMMAND_SIGNAL,
    ORDER_WORKFLOW,
    RECONCILE_WORKFLOW,
    STATUS_QUERY,
    CommandMessage,
    Delivery,
    OrderPolicy,
    Status,
    workflow_id,
)

RPC_TIMEOUT: Final = timedelta(seconds=5)
EXIT_WAIT_SECONDS: Final = 2.0
BEGUN_BY: Final = "begun_by"
"""Memo of an order's workflow: the type of the command that began it."""

_NEVER = frozenset({RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.OUT_OF_RANGE})
"""What the server says about a request that it will refuse every time."""


_CONVERTERS: Final = tuple(PydanticPayloadConverter().converters.values())


class SharedConverter(CompositePayloadConverter):
    """Pydantic's converter, with one set of type adapters for all that Temporal makes of it.

    Temporal makes one for each workflow and two for each activation; each would build its
    adapters anew.
    """

    def __init__(self) -> None:
        super().__init__(*_CONVERTERS)


DATA_CONVERTER: Final = DataConverter(payload_converter_class=SharedConverter)


async def connect(host: str, port: int, namespace: str) -> Client:
    """Connect to Temporal; raises ``Unavailable`` when it does not answer."""
    try:
        return await Client.connect(
            f"{host}:{port}",
            namespace=namespace,
            data_converter=DATA_CONVERTER,
        )
    except (RPCError, RuntimeError) as error:
        # What Temporal's core says is long; the words of the operating system are in it.
        found = re.search(r'message: "([^"]+)"', str(error))
        why = found[1] if found else str(error)
        raise Unavailable(f"no Temporal at {host}:{port}: {why}") from error


async def deliver(
    client: Client, message: CommandMessage, policy: OrderPolicy, task_queue: str
) -> Delivery:
    """Hand a command to the order's workflow, starting it where none runs: one call.

    ``DELIVERED``: it stands in the workflow's history and will get its outcome. ``ENDED``: the
    order's workflow has ended well before, so nothing was delivered. Delivering twice is safe:
    the workflow knows the command by its id. Raises ``Unavailable`` when Temporal cannot be
    reached or does not answer in time (the command may have been delivered), ``Rejected`` when
    it will never take the message.
    """
    try:
        await client.start_workflow(
            ORDER_WORKFLOW,
            policy,
            id=workflow_id(message.command.order_id),
            task_queue=task_queue,
            start_signal=COMMAND_SIGNAL,
            start_signal_args=[message],
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            task_timeout=timing.WORKFLOW_TASK_TIMEOUT,
            execution_timeout=timing.execution_timeout(policy),
            memo={BEGUN_BY: message.command.type},
            rpc_timeout=RPC_TIMEOUT,
        )
    except WorkflowAlreadyStartedError:
        return Delivery.ENDED
    except RPCError as error:
        if error.status in _NEVER:
            raise Rejected(f"Temporal will never take this command: {error.message}") from error
        raise Unavailable(f"Temporal did not take the command: {error.message}") from error
    return Delivery.DELIVERED


async def started_orders(client: Client, task_queue: str, newest: int) -> list[str]:
    """Return the orders whose workflow was begun by their start and runs; the newest of them.

    A workflow that a command before its start began is left out: most of those never start.
    Raises ``Unavailable``.
    """
    query = (
        f"WorkflowType = '{ORDER_WORKFLOW}' and TaskQueue = '{task_queue}' "
        "and ExecutionStatus = 'Running'"
    )
    try:
        return [
            found.id.removeprefix(workflow_id(""))
            async for found in client.list_workflows(query, limit=newest, rpc_timeout=RPC_TIMEOUT)
            if await found.memo_value(BEGUN_BY, None) == "start"
        ]
    except RPCError as error:
        raise Unavailable(f"Temporal did not list workflows: {error.message}") from error


async def schedule_reconciler(client: Client, policy: OrderPolicy, task_queue: str) -> None:
    """Have stranded orders looked for regularly, as often as this code says and by this policy.

    The schedule is the server's: it outlives the worker that made it, so one that is there
    already is brought up to date; whether it is paused stays as it is. Raises ``Unavailable``.
    """
    action = ScheduleActionStartWorkflow(
        RECONCILE_WORKFLOW,
        policy,
        id=f"reconcile-{task_queue}",
        task_queue=task_queue,
        execution_timeout=timing.RECONCILE_LIMIT,
    )
    every = ScheduleIntervalSpec(every=timing.RECONCILE_EVERY)
    spec = ScheduleSpec(intervals=[every])

    def anew(standing: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(replace(standing.description.schedule, action=action, spec=spec))

    name = f"reconcile-{task_queue}"
    try:
        try:
            schedule = Schedule(action=action, spec=spec)
            await client.create_schedule(name, schedule, rpc_timeout=RPC_TIMEOUT)
        except ScheduleAlreadyRunningError:
            await client.get_schedule_handle(name).update(anew, rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        raise Unavailable(f"Temporal did not take the schedule: {error.message}") from error


async def check_health(client: Client) -> None:
    """Raise ``Unavailable`` unless Temporal serves."""
    try:
        serving = await client.service_client.check_health(timeout=RPC_TIMEOUT)
    except RPCError as error:
        raise Unavailable(f"Temporal did not answer: {error.message}") from error
    if not serving:
        raise Unavailable("Temporal answers and does not serve")


async def has_workers(client: Client, task_queue: str) -> bool:
    """Tell whether a worker has asked for workflow tasks lately; raises ``Unavailable``."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        answer = await client.workflow_service.describe_task_queue(request, timeout=RPC_TIMEOUT)
    except RPCError as error:
        raise Unavailable(f"Temporal did not answer: {error.message}") from error
    return bool(answer.pollers)


async def query_status(client: Client, order_id: str) -> Status | None:
    """Return how the running step of an order is getting on, ``None`` without a workflow.

    While the order is being shipped its child knows the step. Raises ``Unavailable`` when
    Temporal or the workers do not answer.
    """
    try:
        order = await _query(client, workflow_id(order_id))
        if order.shipping is None:
            return order
        shipping = await _query(client, order.shipping)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise Unavailable(f"Temporal did not answer: {error.message}") from error
    except WorkflowQueryRejectedError:  # it has ended meanwhile
        return None
    except WorkflowQueryFailedError as error:
        raise Unavailable(f"the workflow did not answer: {error}") from error
    return order.model_copy(
        update={
            "step": shipping.step,
            "attempts": shipping.attempts,
            "last_error": shipping.last_error,
        }
    )


async def _query(client: Client, workflow: str) -> Status:
    handle: WorkflowHandle[object, object] = client.get_workflow_handle(workflow)
    status: Status = await handle.query(
        STATUS_QUERY,
        result_type=Status,
        reject_condition=QueryRejectCondition.NOT_OPEN,
        rpc_timeout=RPC_TIMEOUT,
    )
    if not status.attempts:
        return status
    attempts, last_error = await _heartbeat(handle)
    return status.model_copy(
        update={
            "attempts": status.attempts + attempts,
            "last_error": last_error or status.last_error,
        }
    )


async def _heartbeat(handle: WorkflowHandle[object, object]) -> tuple[int, str | None]:
    """Return the attempts and the last error that the running activity has told of."""
    found = await handle.describe(rpc_timeout=RPC_TIMEOUT)
    for running in found.raw_description.pending_activities:
        if running.heartbeat_details.payloads:
            details = await found.data_converter.decode(running.heartbeat_details.payloads)
            attempts, last_error = details
            return int(attempts), last_error
    return 0, None


def _wait_for_foreign_threads() -> None:
    """Let Temporal's own threads leave the interpreter before it is torn down.

    They are unknown to ``threading`` and abort the process (SIGABRT, SIGSEGV) when they come
    back to an interpreter that is gone; seen with temporalio 1.25 to 1.35 on 10-25 % of exits.
    """
    give_up = time.monotonic() + EXIT_WAIT_SECONDS
    while time.monotonic() < give_up:
        known = {thread.ident for thread in threading.enumerate()}
        if set(sys._current_frames()) <= known:  # noqa: SLF001
            return
        time.sleep(0.01)


atexit.register(_wait_for_foreign_threads)
