"""The walk over payloads is left out where it does nothing, and only there."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.bridge import worker as bridge
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import DataConverter, PayloadCodec

from orchestration.payload_walk import skip_needless_walks, where_needed
from orchestration.temporal_client import DATA_CONVERTER

HOW: Final[dict[str, Any]] = {"storage_concurrency_limit": 1}


class Backwards(PayloadCodec):
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload(metadata=p.metadata, data=p.data[::-1]) for p in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return await self.encode(payloads)


def activation() -> WorkflowActivation:
    made = WorkflowActivation()
    job = made.jobs.add()
    job.resolve_activity.result.completed.result.CopyFrom(payload())
    made.jobs.add().signal_workflow.input.add().CopyFrom(payload())
    return made


def completion() -> WorkflowActivationCompletion:
    made = WorkflowActivationCompletion()
    made.successful.commands.add().schedule_local_activity.arguments.add().CopyFrom(payload())
    return made


def payload() -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=b'"abc"')


async def test_temporal_s_own_walk_changes_nothing_without_a_codec() -> None:
    """Were this to fail after an upgrade, the walk must not be left out any more."""
    way_in, way_out = activation(), completion()
    await original("decode_activation")(way_in, DATA_CONVERTER, decode_headers=False, **HOW)
    await original("encode_completion")(way_out, DATA_CONVERTER, encode_headers=False, **HOW)
    assert (way_in, way_out) == (activation(), completion())


async def test_without_a_codec_nothing_is_walked() -> None:
    async def walk(*_: Any, **__: Any) -> Any:
        raise AssertionError("walked")

    metrics = await where_needed(walk)(activation(), DATA_CONVERTER, decode_headers=False)
    assert metrics.payload_count == 0


async def test_with_a_codec_all_is_walked_as_before() -> None:
    skip_needless_walks()
    converter = replace(DataConverter.default, payload_codec=Backwards())
    way_in, way_out = activation(), completion()
    await bridge.decode_activation(way_in, converter, decode_headers=False, **HOW)
    await bridge.encode_completion(way_out, converter, encode_headers=False, **HOW)
    assert way_in.jobs[0].resolve_activity.result.completed.result.data == b'"cba"'
    assert way_in.jobs[1].signal_workflow.input[0].data == b'"cba"'
    (command,) = way_out.successful.commands
    assert command.schedule_local_activity.arguments[0].data == b'"cba"'


def test_skipping_twice_is_skipping_once() -> None:
    skip_needless_walks()
    once = bridge.decode_activation
    skip_needless_walks()
    assert bridge.decode_activation is once


def original(name: str) -> Any:
    """Return Temporal's own function, whatever this process has put around it."""
    there = getattr(bridge, name)
    return getattr(there, "walks", there)
