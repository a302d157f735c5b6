"""What schemathesis loads first (SCHEMATHESIS_HOOKS)."""

from typing import Any, Final

import schemathesis

LONG: Final = {str(seconds) for seconds in range(2, 31)}


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext,  # noqa: ARG001 - the hook's signature
    case: Any,  # of schemathesis
    kwargs: dict[str, Any],  # noqa: ARG001
) -> None:
    """Let no request wait longer for an event than a second: nothing else is asked meanwhile."""
    if case.query and str(case.query.get("wait")) in LONG:
        case.query["wait"] = 1
