"""The REST API of the running service."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack import free_port
from tests.support.kcat import needs_kcat, read
from tests.support.rest import ADDRESS, GOLD, Rest, running_api
from tests.support.service import Service
from tests.support.waiting import until

ORDERS = str(Path(sys.executable).with_name("orders"))
CANCEL = {"reason": "no longer wanted", "cancelled_by": "customer"}
ELSEWHERE = ADDRESS | {"street": "9 Side St"}
NOW = {"Prefer": "wait=60"}


@contextmanager
def api_process(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("w") as output:
        process = subprocess.Popen(
            [ORDERS, "api"],
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


async def sent(service: Service, order_id: str) -> list[dict[str, Any]]:
    """Return the commands on the topic for an order."""
    lines = await read(service.bootstrap, service.topics.commands)
    commands = [json.loads(line) for line in lines if line.startswith("{")]
    return [command for command in commands if command.get("order_id") == order_id]


async def test_a_start_is_accepted_applied_and_its_order_ships(rest: Rest) -> None:
    accepted = await rest.start("S-1")

    assert accepted.status_code == 202
    command_id = accepted.json()["command_id"]
    assert accepted.headers["location"] == f"/commands/{command_id}"
    status = await rest.state("S-1", "shipped")
    assert status["address"] == ADDRESS
    assert status["payment"]["status"] == "charged"
    assert status["payment"]["amount"] == status["amount"]
    assert status["seconds_left"] is None
    assert status["links"]["temporal_ui"].endswith("/workflows/order-S-1")
    command = (await rest.http.get(accepted.headers["location"])).json()
    assert (command["status"], command["type"]) == ("applied", "start")
    assert command["event"]["type"] == "order.received"
    history = (await rest.http.get(status["links"]["history"])).json()
    assert [event["sequence"] for event in history["events"]] == [1, 2, 3, 4, 5, 6]
    assert history["events"][0]["seconds"] is None
    assert all(event["seconds"] >= 0 for event in history["events"][1:])


async def test_with_prefer_wait_the_answer_is_the_outcome_and_its_reason(rest: Rest) -> None:
    body = {"initial_address": ADDRESS}
    first = await rest.http.post("/orders/S-2/start", json=body, headers=NOW)
    assert first.status_code == 200
    assert first.headers["preference-applied"] == "wait=60"
    assert first.json()["status"] == "applied"

    second = await rest.http.post("/orders/S-2/start", json=body, headers=NOW)
    assert second.status_code == 409
    assert second.headers["content-type"] == "application/problem+json"
    assert second.json()["type"] == "urn:orders:command-duplicate"
    duplicate = await rest.http.get(f"/commands/{second.json()['command_id']}")
    assert duplicate.json()["status"] == "duplicate"

    await rest.state("S-2", "shipped")
    late = await rest.http.post("/orders/S-2/signals/cancel", json=CANCEL, headers=NOW)
    assert late.status_code == 409
    assert late.json()["detail"] == "too late: the order is shipped"
    rejected = await rest.http.get(late.headers["location"])
    assert rejected.json()["status"] == "rejected"
    assert rejected.json()["reason"] == "too late: the order is shipped"


async def test_every_signal_has_its_effect(rest: Rest) -> None:
    for order_id in ("S-3", "S-4", "S-5"):
        await rest.start(order_id, **GOLD)
    for order_id in ("S-3", "S-4", "S-5"):
        status = await rest.state(order_id, "in_review")
        assert status["step"] == "review"
        assert status["seconds_left"] > 0
        assert status["decide_by"] is not None

    async def signal_(order_id: str, name: str, body: dict[str, Any]) -> None:
        answer = await rest.http.post(f"/orders/{order_id}/signals/{name}", json=body, headers=NOW)
        assert answer.status_code == 200, answer.text

    await signal_("S-3", "update-address", {"new_address": ELSEWHERE, "updated_by": "me"})
    await signal_("S-3", "approve", {"reviewed_by": "me"})
    await signal_("S-4", "reject", {"reviewed_by": "me", "reason": "looks odd"})
    await signal_("S-5", "cancel", CANCEL)

    assert (await rest.state("S-3", "shipped"))["address"] == ELSEWHERE
    assert (await rest.state("S-4", "rejected"))["reason"] == "looks odd"
    assert (await rest.state("S-5", "cancelled"))["reason"] == "no longer wanted"


async def test_a_wait_that_passes_answers_202_and_the_command_is_pending(rest: Rest) -> None:
    early = await rest.http.post(
        "/orders/S-6/signals/cancel", json=CANCEL, headers={"Prefer": "wait=1"}
    )

    assert early.status_code == 202
    assert early.json()["status"] == "pending"
    assert (await rest.http.get(early.headers["location"])).json()["status"] == "pending"


@needs_kcat
async def test_a_key_sent_again_is_the_same_command_and_another_body_is_refused(
    rest: Rest, service: Service
) -> None:
    body = {"initial_address": ADDRESS}
    key = {"Idempotency-Key": "key-1"}

    first = await rest.http.post("/orders/S-7/start", json=body, headers=key)
    again = await rest.http.post("/orders/S-7/start", json=body, headers=key | NOW)
    await rest.state("S-7", "shipped")
    late = await rest.http.post("/orders/S-7/start", json=body, headers=key | NOW)

    assert first.json()["command_id"] == "key-1"
    assert (again.status_code, late.status_code) == (200, 200)
    assert len(await sent(service, "S-7")) == 1
    for path, other in (
        ("/orders/S-7/start", {"initial_address": ELSEWHERE}),
        ("/orders/S-7/signals/cancel", CANCEL),
        ("/orders/S-8/start", body),
    ):
        reused = await rest.http.post(path, json=other, headers=key)
        assert reused.status_code == 409
        assert reused.json()["type"] == "urn:orders:key-reused"
    assert len(await sent(service, "S-7")) == 1
    assert await sent(service, "S-8") == []


@needs_kcat
async def test_dead_letters_are_found_by_their_id_and_by_their_place(
    rest: Rest, service: Service
) -> None:
    await service.send('{"type": "start", "order_id": "S-9", "command_id": "bad-1"}')

    async def dead() -> dict[str, Any] | None:
        answer = await rest.http.get("/commands/bad-1")
        found: dict[str, Any] = answer.json()
        return found if found["status"] == "dead-lettered" else None

    letter = await until(dead)
    assert letter is not None
    assert letter["reason"] == "BadCommand: initial_address: missing"
    listed = (await rest.http.get("/dead-letters")).json()["dead_letters"]
    place = next(entry["id"] for entry in listed if entry["command_id"] == "bad-1")
    assert (await rest.http.get(f"/commands/{place}")).json()["status"] == "dead-lettered"


async def test_what_nobody_sent_is_not_known(rest: Rest) -> None:
    for path in (
        "/commands/nobody",
        "/orders/nobody/status",
        "/orders/nobody/history",
        "/orders/nobody/history?after=3",
        "/zzz",
    ):
        answer = await rest.http.get(path)
        assert answer.status_code == 404
        assert answer.json()["type"] == "urn:orders:not-found"


@pytest.mark.parametrize(
    ("content", "headers", "status", "field"),
    [
        ("{", {}, 400, None),
        ("[]", {}, 400, None),
        ('{"reason": "a", "reason": "b", "cancelled_by": "c"}', {}, 400, None),
        ('{"reason": "a"}', {}, 422, "cancelled_by"),
        ('{"reason": 1, "cancelled_by": "b"}', {}, 422, "reason"),
        ('{"reason": " ", "cancelled_by": "b"}', {}, 422, "reason"),
        ('{"reason": "a\\u0000", "cancelled_by": "b"}', {}, 422, "reason"),
        ('{"reason": "\\ud800", "cancelled_by": "b"}', {}, 422, "reason"),
        ('{"reason": "a", "cancelled_by": "b", "colour": "c"}', {}, 422, "colour"),
        ('{"reason": "a", "cancelled_by": "b", "order_id": "c"}', {}, 422, "order_id"),
        (json.dumps(CANCEL), {"Content-Type": "text/plain"}, 415, None),
        (json.dumps(CANCEL), {"Content-Encoding": "gzip"}, 415, None),
        (json.dumps(CANCEL), {"Idempotency-Key": "a b"}, 422, "Idempotency-Key"),
        (json.dumps(CANCEL), {"Idempotency-Key": "a" * 129}, 422, "Idempotency-Key"),
        (json.dumps(CANCEL | {"reason": "a" * 600_000}), {}, 413, None),
    ],
)
async def test_a_bad_command_is_refused_with_its_field_named(
    rest: Rest, content: str, headers: dict[str, str], status: int, field: str | None
) -> None:
    answer = await rest.http.post(
        "/orders/S-10/signals/cancel",
        content=content,
        headers={"Content-Type": "application/json", **headers},
    )

    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert problem["status"] == status
    assert [error["field"] for error in problem.get("errors", [])] == ([field] if field else [])
    assert all(error["detail"].startswith(f"{field}: ") for error in problem.get("errors", []))


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/orders/-A/status", "order_id"),
        (f"/orders/{'A' * 65}/status", "order_id"),
        ("/orders?limit=0", "limit"),
        ("/orders?limit=501", "limit"),
        ("/orders?state=lost", "state"),
        ("/orders?colour=red", "colour"),
        ("/orders/S-1/history?after=-1", "after"),
        ("/events?after=x", "after"),
        ("/commands/a%20b", "command_id"),
    ],
)
async def test_a_bad_question_is_refused_with_its_parameter_named(
    rest: Rest, path: str, field: str
) -> None:
    answer = await rest.http.get(path)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_the_instance_of_a_problem_is_a_uri(rest: Rest) -> None:
    for path in ("/orders/a%20b/status", "/orders/%C3%A9/status", "/orders/a%3Fb%23/status"):
        assert (await rest.http.get(path)).json()["instance"] == path


async def test_of_two_starts_at_once_one_is_applied_and_one_a_duplicate(rest: Rest) -> None:
    async def start(order_id: str) -> tuple[int, str | None]:
        answer = await rest.http.post(
            f"/orders/{order_id}/start", json={"initial_address": ADDRESS}, headers=NOW
        )
        return answer.status_code, answer.json().get("type")

    async def twice(order_id: str) -> set[tuple[int, str | None]]:
        return set(await asyncio.gather(start(order_id), start(order_id)))

    for answers in await asyncio.gather(*(twice(f"D-{n}") for n in range(30))):
        assert answers == {(200, "start"), (409, "urn:orders:command-duplicate")}


async def test_a_client_that_goes_away_is_no_defect(rest: Rest) -> None:
    where = httpx.URL(rest.url)
    _, writer = await asyncio.open_connection(where.host, where.port)
    writer.write(
        b"POST /orders/S-16/signals/approve HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    async def statuses() -> list[str]:
        numbers = (await rest.http.get("/metrics")).text
        return re.findall(
            r'seconds_count{method="POST",route="[^"]*approve",status="(\d+)"', numbers
        )

    async def counted() -> bool:
        return bool({"400", "500"} & set(await statuses()))

    await until(counted)
    assert "500" not in await statuses()


async def test_pages_lead_through_all_orders_once(rest: Rest) -> None:
    names = [f"P-{n}" for n in range(5)]
    await asyncio.gather(*(rest.start(name, **GOLD) for name in names))
    for name in names:
        await rest.state(name, "in_review")

    seen: list[str] = []
    path: str | None = "/orders?state=in_review&limit=2&after=O"
    while path:
        answer = await rest.http.get(path)
        page = answer.json()
        assert len(page["orders"]) <= 2
        assert all(order["state"] == "in_review" for order in page["orders"])
        seen += [order["order_id"] for order in page["orders"]]
        path = page["next"]
        assert (answer.headers.get("link") == f'<{path}>; rel="next"') == bool(path)

    assert [name for name in seen if name.startswith("P-")] == names
    first = (await rest.http.get("/orders/P-0/history?limit=1")).json()
    second = (await rest.http.get(first["next"])).json()
    third = (await rest.http.get(second["next"])).json()
    assert [p["events"][0]["sequence"] for p in (first, second, third)] == [1, 2, 3]
    assert [len(p["events"]) for p in (first, second, third)] == [1, 1, 1]
    assert third["next"] is None
    assert second["events"][0]["seconds"] is not None


async def test_events_of_all_orders_can_be_waited_for(rest: Rest) -> None:
    before = (await rest.http.get("/events")).json()
    assert before["events"] == []
    await rest.start("S-11")

    events: list[dict[str, Any]] = []
    position = before["next"]

    async def shipped() -> bool:
        nonlocal position
        page = await rest.http.get(
            "/events", params={"after": position, "order_id": "S-11", "wait": 20}
        )
        events.extend(page.json()["events"])
        position = page.json()["next"]
        return bool(events) and events[-1]["type"] == "order.shipped"

    await until(shipped)
    assert [event["sequence"] for event in events] == [1, 2, 3, 4, 5, 6]


async def test_the_page_of_docs_takes_nothing_from_outside(rest: Rest) -> None:
    page = (await rest.http.get("/docs")).text

    for place in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert place.startswith("/"), place
        assert (await rest.http.get(place)).status_code == 200, place
    assert "swagger-ui" in page


async def test_health_readiness_and_numbers(rest: Rest) -> None:
    assert (await rest.http.get("/health")).json() == {"status": "ok"}
    ready = (await rest.http.get("/ready")).json()
    assert ready["status"] == "ready"
    assert set(ready["dependencies"]) == {"postgresql", "kafka", "temporal"}
    numbers = (await rest.http.get("/metrics")).text
    assert 'orders_api_commands_published_total{type="start"}' in numbers
    assert 'route="/orders/{order_id}/start",status="202"' in numbers


async def test_a_pending_command_is_known_after_the_api_was_killed(rest: Rest) -> None:
    early = await rest.http.post("/orders/S-12/signals/cancel", json=CANCEL)
    os.kill(rest.role.pid, signal.SIGKILL)

    async def answers() -> httpx.Response | None:
        try:
            found = await rest.http.get(early.headers["location"])
        except httpx.TransportError:
            return None
        return found if found.is_success else None

    known = await until(answers)
    assert known is not None
    assert known.json()["order_id"] == "S-12"


async def test_without_temporal_reads_go_on(environment: dict[str, str], tmp_path: Path) -> None:
    away = environment | {"TEMPORAL_PORT": str(free_port())}
    async with running_api(away, tmp_path) as rest:
        await rest.start("S-13", **GOLD)
        status = await rest.state("S-13", "in_review")
        assert status["live"] is False
        assert status["step"] == "review"
        ready = await rest.http.get("/ready")
        assert ready.status_code == 200
        assert ready.json()["status"] == "degraded"
        assert not ready.json()["dependencies"]["temporal"]["ok"]


async def test_without_kafka_commands_are_refused_at_once_and_reads_go_on(
    environment: dict[str, str], tmp_path: Path
) -> None:
    away = environment | {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"}
    async with running_api(away, tmp_path) as rest:
        refused = await rest.start("S-14")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["command_id"] in refused.json()["detail"]
        assert (await rest.http.get("/orders")).status_code == 200
        ready = await rest.http.get("/ready")
        assert ready.status_code == 503
        assert not ready.json()["dependencies"]["kafka"]["ok"]


async def test_sigterm_answers_who_waits_and_ends_with_0(
    rest: Rest, environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    log = tmp_path / "log"
    with api_process(environment | {"API_PORT": str(port)}, log) as process:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=90) as http:

            async def alive() -> bool:
                try:
                    return (await http.get("/health")).is_success
                except httpx.TransportError:
                    return False

            await until(alive)
            waiting = asyncio.create_task(
                http.post("/orders/S-15/signals/cancel", json=CANCEL, headers=NOW)
            )
            watching = asyncio.create_task(http.get("/events?order_id=S-15&wait=30"))

            async def accepted() -> bool:
                return "orders_api_open_requests 3.0" in (await http.get("/metrics")).text

            await until(accepted)
            process.terminate()
            answer = await waiting
            assert (answer.status_code, answer.json()["status"]) == (202, "pending")
            assert (await watching).json()["events"] == []
        assert await asyncio.to_thread(process.wait, 60) == 0, log.read_text()
    assert "Traceback" not in log.read_text()
    assert "never retrieved" not in log.read_text()
    assert (await rest.http.get("/orders/S-15/status")).status_code == 404
