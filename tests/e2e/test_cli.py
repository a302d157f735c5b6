"""The installed ``orders`` command as people and scripts use it."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devstack import free_port
from tests.support.kcat import needs_kcat
from tests.support.rest import ADDRESS, GOLD, Rest
from tests.support.service import Service
from tests.support.waiting import until

ORDERS = str(Path(sys.executable).with_name("orders"))
HOME = json.dumps(ADDRESS)
ITEMS = ("--items", json.dumps(GOLD["items"]), "--currency", "USD")
PATIENCE = 120


async def orders(
    rest: Rest, *words: str, code: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command; it has to end with ``code`` and never with a traceback."""
    done = await asyncio.to_thread(
        subprocess.run,
        [ORDERS, *words],
        env={**os.environ, **rest.environment, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == code, f"{words}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr
    return done


def background(rest: Rest, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [ORDERS, *words],
        env={**os.environ, **rest.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


INTERRUPTED_IMPORT = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["orders", "list"]
from ingest.start import main
main()
"""


def test_an_interrupt_while_it_is_being_imported_ends_it_without_a_word() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


async def test_start_with_wait_tells_the_story_and_ends_with_0(rest: Rest) -> None:
    done = await orders(rest, "start", "C-1", "--address", HOME, "--wait")

    lines = done.stdout.splitlines()
    assert [line.split()[2] for line in lines[:-1]] == [
        "received",
        "validated",
        "payment_charged",
        "shipment_prepared",
        "dispatched",
        "shipped",
    ]
    assert lines[-1] == "C-1 is shipped"
    shown = (await orders(rest, "status", "C-1")).stdout
    assert "shipped" in shown
    assert "123 Main St, Anytown, CA, 12345" in shown
    history = (await orders(rest, "history", "C-1")).stdout.splitlines()
    assert history == lines[:-1]


async def test_json_is_one_document_for_scripts(rest: Rest) -> None:
    started = json.loads(
        (await orders(rest, "start", "C-2", "--address", HOME, "--wait", "--json")).stdout
    )
    status = json.loads((await orders(rest, "status", "C-2", "--json")).stdout)
    history = json.loads((await orders(rest, "history", "C-2", "--json")).stdout)
    page = json.loads((await orders(rest, "list", "--state", "shipped", "--json")).stdout)

    assert started["state"] == status["state"] == "shipped"
    assert len(history["events"]) == 6
    assert "C-2" in [order["order_id"] for order in page["orders"]]
    again = await orders(rest, "start", "C-2", "--address", HOME, "--json", "--no-wait")
    assert json.loads(again.stdout)["status"] == "pending"


async def test_an_order_that_ends_otherwise_makes_wait_end_with_1(rest: Rest) -> None:
    following = await asyncio.to_thread(
        background, rest, "start", "C-3", "--address", HOME, *ITEMS, "--wait"
    )
    await rest.state("C-3", "in_review")

    await orders(rest, "cancel", "C-3", "--reason", "too dear", "--cancelled-by", "me", "--wait")

    printed, _ = await asyncio.to_thread(following.communicate, timeout=PATIENCE)
    assert following.returncode == 1, printed
    assert printed.splitlines()[-1] == "C-3 is cancelled: too dear"


async def test_reviewers_decide_and_addresses_change(rest: Rest) -> None:
    for name in ("C-4", "C-5"):
        await orders(rest, "start", name, "--address", HOME, *ITEMS)
        await rest.state(name, "in_review")
    other = json.dumps(ADDRESS | {"street": "9 Side St"})

    await orders(rest, "update-address", "C-4", "--address", other, "--updated-by", "me")
    await orders(rest, "approve", "C-4", "--reviewed-by", "me")
    await orders(rest, "reject", "C-5", "--reviewed-by", "me", "--reason", "odd", "--wait")

    assert (await rest.state("C-4", "shipped"))["address"]["street"] == "9 Side St"
    assert (await rest.state("C-5", "rejected"))["reason"] == "odd"


async def test_a_refused_command_is_one_line_and_1(rest: Rest) -> None:
    await orders(rest, "start", "C-6", "--address", HOME, "--wait")

    late = await orders(rest, "cancel", "C-6", "--reason", "x", "--cancelled-by", "me", code=1)
    unknown = await orders(rest, "status", "nobody", code=1)

    assert late.stderr == "orders: too late: the order is shipped\n"
    assert unknown.stderr.startswith("orders: order nobody is unknown")
    assert "/commands/" not in unknown.stderr
    assert unknown.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "C-7"), "--address"),
        (("start", "C-7", "--address", "Main St"), "--address is not JSON"),
        (("start", "C-7", "--address", "{}"), "initial_address.street: missing"),
        (("start", "C/7", "--address", HOME), "is no order id"),
        (("start", "C-7", "--address", '{"street": NaN}'), "NaN is not a JSON number"),
        (("start", "C-7", "--address", "[" * 100_000), "--address is not JSON"),
        (("cancel", "C-7", "--reason", "\udcff", "--cancelled-by", "me"), "not valid Unicode"),
        (("start", "C-7", "--address", HOME, "--command-id", "a b"), "is no command id"),
        (("start", "C-7", "--address", HOME, *ITEMS[:2]), "currency: items and currency go"),
        (("status", "C-7\n"), "is no order id"),
        (("list", "--after", "\udcff"), "use UTF-8"),
        (("list", "--limit", "501"), "limit: "),
        (("list", "--state", "lost"), "state: "),
        (("status",), "ID"),
        (("dance",), "dance"),
    ],
)
async def test_wrong_usage_says_what_is_wrong_and_ends_with_2(
    rest: Rest, words: tuple[str, ...], said: str
) -> None:
    stderr = (await orders(rest, *words, code=2)).stderr
    assert said in stderr
    assert stderr.startswith("orders: ")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    "variables",
    [
        {"API_URL": "http://localhost:abc"},
        {"API_URL": "http://ex..ample"},
        {"API_URL": f"http://{'a' * 64}.example"},
        {"API_URL": "ftp://localhost"},
        {"API_PORT": "99999", "MAX_ORDERS_IN_MOTION": "x"},
    ],
)
async def test_a_setting_that_cannot_work_is_one_line_that_names_it(
    rest: Rest, variables: dict[str, str]
) -> None:
    for words in (("list",), ("start", "C-7", "--address", HOME)):
        stderr = (await orders(rest, *words, code=2, **variables)).stderr
        assert stderr.startswith("orders: ")
        assert all(f"{name}={value}: " in stderr for name, value in variables.items())
        assert stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["list", "api", "migrate"])
def test_settings_that_are_no_text_are_one_line(command: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"API_URL=\xff")

    done = subprocess.run(
        [ORDERS, command], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == (2 if command == "list" else 1)
    assert "a file of settings (.env) is not UTF-8" in done.stderr
    assert done.stderr.count("\n") == 1


async def test_an_api_that_is_not_there_is_3_and_says_what_to_do(rest: Rest) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    for words in (("list",), ("status", "C-1"), ("watch",)):
        done = await orders(rest, *words, code=3, API_URL=nowhere)
        assert nowhere in done.stderr
        assert "orders up" in done.stderr
        assert done.stderr.count("\n") == 1


async def test_watch_tells_one_order_to_its_end_and_all_until_interrupted(rest: Rest) -> None:
    everyone = await asyncio.to_thread(background, rest, "watch", "--json")
    try:

        async def watching() -> bool:
            text = (await rest.http.get("/metrics")).text
            return 'route="/events"' in text

        await until(watching)
        await rest.start("C-8")
        one = await orders(rest, "watch", "C-8")
        assert one.stdout.splitlines()[-1].split()[1] == "shipped"

        seen: list[tuple[str, str]] = []
        assert everyone.stdout is not None
        while not seen or seen[-1] != ("C-8", "order.shipped"):
            event = json.loads(await asyncio.to_thread(everyone.stdout.readline))
            seen.append((event["order_id"], event["type"]))
        everyone.send_signal(signal.SIGINT)
        left, _ = await asyncio.to_thread(everyone.communicate, timeout=PATIENCE)
        assert everyone.returncode == 130
        assert "Traceback" not in left
    finally:
        everyone.kill()
        everyone.communicate()


@needs_kcat
async def test_watch_outlasts_the_death_of_the_api_and_misses_nothing(
    rest: Rest, service: Service
) -> None:
    async def positions() -> float:
        """How often the API has told where the topic of events ends."""
        text = (await rest.http.get("/metrics")).text
        found = re.search(r'seconds_count{.*route="/events",status="200"} (.*)', text)
        return float(found[1]) if found else 0.0

    before = await positions()

    async def more_positions() -> bool:
        return await positions() > before

    watcher = await asyncio.to_thread(background, rest, "watch")
    output = watcher.stdout
    assert output is not None
    lines: list[str] = []

    async def shipped(order_id: str) -> None:
        while not (lines and order_id in lines[-1] and " shipped " in lines[-1]):
            line = await asyncio.to_thread(output.readline)
            assert line, f"it ended: {lines}"
            lines.append(line)

    try:
        await until(more_positions)  # it watches from its first answer on
        os.kill(rest.role.pid, signal.SIGKILL)
        start = {"type": "start", "order_id": "C-21", "initial_address": ADDRESS}
        await service.send(json.dumps(start))
        async with asyncio.timeout(PATIENCE):
            await shipped("C-21")
    finally:
        watcher.kill()
        watcher.communicate()
    told = [line for line in lines if line.startswith("orders: ")]
    assert [line.split()[-1] for line in told] == ["on", "back"]
    assert sum("C-21" in line for line in lines) == 6


async def test_a_reader_that_has_gone_is_no_error(rest: Rest) -> None:
    for words in (("list",), ("list", "--json")):
        reading, writing = os.pipe()
        os.close(reading)
        done = await asyncio.to_thread(
            subprocess.run,
            [ORDERS, *words],
            env={**os.environ, **rest.environment},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (0, "")


@needs_kcat
async def test_dead_letters_are_listed_shown_and_sent_again(rest: Rest, service: Service) -> None:
    await service.send('{"type": "start", "order_id": "C-9", "command_id": "bad-9"}')

    async def letters() -> list[dict[str, Any]]:
        printed = (await orders(rest, "dead-letters", "list", "--json")).stdout
        found: list[dict[str, Any]] = json.loads(printed)["dead_letters"]
        return [letter for letter in found if letter["command_id"] == "bad-9"]

    (letter,) = await until(letters)
    shown = await orders(rest, "dead-letters", "show", letter["id"])
    again = await orders(rest, "dead-letters", "replay", letter["id"])
    unknown = await orders(rest, "dead-letters", "show", "nobody", code=1)
    away = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"}
    nowhere = await orders(rest, "dead-letters", "list", code=3, **away)

    assert "initial_address: missing" in shown.stdout
    assert again.stdout == f"{letter['id']} sent again\n"
    assert unknown.stderr.startswith("orders: no dead letter nobody")
    assert nowhere.stderr.count("\n") == 1


async def test_list_tells_how_to_get_the_next_page(rest: Rest) -> None:
    for name in ("L-1", "L-2", "L-3"):
        await rest.start(name, **GOLD)
        await rest.state(name, "in_review")

    first = await orders(rest, "list", "--state", "in_review", "--limit", "2", "--after", "L")

    assert "L-2" in first.stdout
    assert "L-3" not in first.stdout
    more = first.stdout.splitlines()[-1].removeprefix("More: orders ")
    assert "L-3" in (await orders(rest, *more.split())).stdout


async def test_doctor_finds_all_well_and_names_what_is_wrong(rest: Rest) -> None:
    async def well() -> bool:
        done = await asyncio.to_thread(
            subprocess.run,
            [ORDERS, "doctor"],
            env={**os.environ, **rest.environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode in (0, 3), done.stderr
        return done.returncode == 0 and "All is well." in done.stdout

    await until(well, patience=PATIENCE)

    wrong = await orders(
        rest,
        "doctor",
        code=3,
        API_URL=f"http://127.0.0.1:{free_port()}",
        DB_URL=f"postgresql://orders@127.0.0.1:{free_port()}/orders",
        TEMPORAL_PORT=str(free_port()),
        KAFKA_GROUP_ID="nobody",
    )
    named = [line.split()[1] for line in wrong.stdout.splitlines() if line.startswith("WRONG")]
    assert named == ["PostgreSQL", "Temporal", "API", "ingest"]
    assert wrong.stdout.count("not known without") == 2
    assert "orders up" in wrong.stdout
    assert "orders ingest" in wrong.stdout
