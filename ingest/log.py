"""Structured logs on standard error, for people (console) or machines (json)."""

import logging
import sys
import time
from typing import Final, Literal

import structlog

REPEAT_SECONDS: Final = 60.0
"""A library that complains about the same thing again within this time is not heard."""


class _OncePerMinute(logging.Filter):
    """Pass one record of each kind (logger, template, level) a minute.

    Client libraries log a line per retry while a server is away; one says enough.
    """

    def __init__(self) -> None:
        super().__init__()
        self._heard: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = (record.name, str(record.msg)[:60])
        now = time.monotonic()
        if now - self._heard.get(kind, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        self._heard[kind] = now
        return True


def configure_logging(log_format: Literal["console", "json"], *, libraries: bool = True) -> None:
    """Send all logs to standard error; those of ``libraries`` too (warnings and worse) or not."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # Plain: the rich one prints local variables, and DB_URL holds a password.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    _quieten("aiokafka", logging.WARNING if libraries else logging.CRITICAL, handler)
    _quieten("temporalio", logging.WARNING if libraries else logging.CRITICAL, handler)
    for name in ("httpx", "alembic", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _quieten(name: str, level: int, handler: logging.Handler) -> None:
    library = logging.getLogger(name)
    library.setLevel(level)
    library.propagate = False
    only_once = logging.StreamHandler(sys.stderr)
    only_once.setFormatter(handler.formatter)
    only_once.addFilter(_OncePerMinute())
    library.handlers = [only_once]
