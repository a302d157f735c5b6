"""The REST API does what its own OpenAPI document says, whatever it is asked."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest

from tests.support.rest import Rest

SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
LONGEST_WAIT = 60
ROOT = Path(__file__).parents[2]
HOOKS = "tests.support.schemathesis_hooks"


@pytest.fixture(scope="module")
def environment(environment: dict[str, str]) -> dict[str, str]:
    """Commands to orders that never start have their outcome soon: made-up calls wait for it."""
    return {**environment, "EARLY_COMMAND_TTL_SECONDS": "1"}


async def test_every_parameter_and_answer_has_an_example_that_its_schema_allows(
    rest: Rest,
) -> None:
    document = (await rest.http.get("/openapi.json")).json()

    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            given = [(p, f"{method} {path} {p['name']}") for p in operation.get("parameters", [])]
            contents = [
                (content, f"{method} {path} {status}")
                for status, response in operation["responses"].items()
                for content in response["content"].values()
            ]
            for described, place in given + contents:
                examples = [e["value"] for e in described.get("examples", {}).values()]
                for example in examples or [described["example"]]:
                    schema = described["schema"] | {"components": document["components"]}
                    wrong = jsonschema_rs.Draft202012Validator(schema).iter_errors(example)
                    assert not list(wrong), place
            assert all(p["schema"].get("description") or p.get("description") for p, _ in given)


async def test_schemathesis_finds_nothing(rest: Rest, tmp_path: Path) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [
            *(SCHEMATHESIS, "run", f"{rest.url}/openapi.json", "--checks", "all", "--no-color"),
            *("--max-examples", "8", "--seed", "8", "--generation-deterministic"),
            *("--max-response-time", str(LONGEST_WAIT + 10)),
            *("--request-timeout", str(LONGEST_WAIT + 20)),
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "15/15" in done.stdout
    alive = await rest.http.get("/health")
    assert alive.status_code == 200
