"""The commands of ``orders`` for people and scripts; what they need is imported when they run."""

from typing import Annotated, Any, Final

import typer

ADDRESS: Final = '{"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}'
ITEMS: Final = '[{"sku": "BOOK-1", "quantity": 2, "unit_price": 1250}]'

OrderId = Annotated[str, typer.Argument(metavar="ID", help="The order's id, as A-1.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Wait = Annotated[
    bool | None,
    typer.Option(
        "--wait/--no-wait",
        help="Follow the order live until it ends, or return as soon as the command is accepted. "
        "Without either: wait up to 5 s for the command's outcome.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--command-id", metavar="ID", help="Run again with the same id, it is the same command."
    ),
]
Reason = Annotated[str, typer.Option(help="Why; it is in the order's history.")]
OptionalReason = Annotated[str | None, typer.Option(help="Why; it is in the order's history.")]
Reviewer = Annotated[str, typer.Option("--reviewed-by", help="Who decides.")]
Address = Annotated[str, typer.Option(metavar="JSON", help=f"As '{ADDRESS}'.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (start, status, history, cancel, update_address, approve, reject):
        app.command()(command)
    app.command("list")(list_orders)
    app.command()(watch)
    app.command()(doctor)


def start(
    order_id: OrderId,
    address: Address,
    items: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", help=f"As '{ITEMS}' (cents). Without it, sales knows the order."
        ),
    ] = None,
    currency: Annotated[
        str | None, typer.Option(metavar="CODE", help="Of the items' prices, as USD.")
    ] = None,
    command_id: Key = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Start an order."""
    from ingest.client import program, send

    with program.connected() as api:
        body: dict[str, Any] = {"initial_address": program.parse("--address", address, ADDRESS)}
        if items is not None:
            body["items"] = program.parse("--items", items, ITEMS)
        if currency is not None:
            body["currency"] = currency
        send.send(api, order_id, "start", body, command_id, wait, as_json)


def cancel(
    order_id: OrderId,
    reason: Reason,
    cancelled_by: Annotated[str, typer.Option(help="Who cancels.")],
    command_id: Key = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Cancel an order.

    It is refused once the carrier has been asked to take the parcel.
    """
    from ingest.client import program, send

    with program.connected() as api:
        body = {"reason": reason, "cancelled_by": cancelled_by}
        send.send(api, order_id, "cancel", body, command_id, wait, as_json)


def update_address(
    order_id: OrderId,
    address: Address,
    updated_by: Annotated[str, typer.Option(help="Who changes it.")],
    command_id: Key = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Ship to another address.

    It is refused once the carrier has been asked to take the parcel.
    """
    from ingest.client import program, send

    with program.connected() as api:
        new_address = program.parse("--address", address, ADDRESS)
        body = {"new_address": new_address, "updated_by": updated_by}
        send.send(api, order_id, "update-address", body, command_id, wait, as_json)


def approve(
    order_id: OrderId,
    reviewed_by: Reviewer,
    reason: OptionalReason = None,
    command_id: Key = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Let an order pass in review."""
    _decide("approve", order_id, reviewed_by, reason, command_id, wait, as_json)


def reject(
    order_id: OrderId,
    reviewed_by: Reviewer,
    reason: OptionalReason = None,
    command_id: Key = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Refuse an order in review."""
    _decide("reject", order_id, reviewed_by, reason, command_id, wait, as_json)


def _decide(
    verdict: str,
    order_id: str,
    reviewed_by: str,
    reason: str | None,
    command_id: str | None,
    wait: bool | None,
    as_json: bool,
) -> None:
    from ingest.client import program, send

    with program.connected() as api:
        body = {"reviewed_by": reviewed_by} | ({"reason": reason} if reason is not None else {})
        send.send(api, order_id, verdict, body, command_id, wait, as_json)


def status(order_id: OrderId, as_json: AsJson = False) -> None:
    """Show where an order is.

    Its running step with retries, the time left, address and payment.
    """
    from ingest.client import program, render

    with program.connected() as api:
        order = api.get(program.path("orders", order_id, "status"))
        if as_json:
            program.print_json(order)
        else:
            render.console().print(render.status(order))


def history(order_id: OrderId, as_json: AsJson = False) -> None:
    """Show what happened to an order."""
    from ingest.client import program, read, render

    with program.connected() as api:
        document = read.history(api, order_id)
        if as_json:
            program.print_json(document)
        else:
            for line in render.history(document):
                render.console().print(line)


def list_orders(
    state: Annotated[
        str | None, typer.Option(help="Only orders in this state, as shipped or in_review.")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many at most (500).")] = 50,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on after this order id.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List orders by id."""
    from ingest.client import program, read

    with program.connected() as api:
        read.print_page(api, state, limit, after, as_json)


def watch(
    order_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only this order, from its beginning.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print events as they happen.

    Of all orders until Ctrl-C, or of one order until it ends.
    """
    from ingest.client import program, read

    with program.connected() as api:
        if order_id is None:
            read.watch_all(api, as_json)
        else:
            read.watch_one(api, order_id, as_json)


def doctor() -> None:
    """Check every part and say what to do."""
    from ingest.client import doctor as checks
    from ingest.client import program

    with program.exits():
        raise typer.Exit(checks.run(program.settings()))
