"""The REST API does what its own OpenAPI document says, whatever it is asked."""

import asyncio
import subprocess
import sys
from pathlib import Path

from tests.support.rest import Rest

SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
LONGEST_WAIT = 60


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
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "15/15" in done.stdout
    alive = await rest.http.get("/health")
    assert alive.status_code == 200
