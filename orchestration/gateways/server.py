"""The simulated partners behind the HTTP contract of ``docs/partners.md``, for tests and demos.

Same books, same faults as in the worker's process: a call that hangs keeps its request open.
"""

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from domain.errors import Declined, PartnerUnavailable
from domain.model import Address, Currency, Items, MinorUnits, Model, Text
from orchestration.gateways import Gateways
from orchestration.gateways.carrier import Pickup
from orchestration.gateways.http_partner import PROBLEM
from orchestration.gateways.payments import Charge
from orchestration.gateways.sales import Basket

Key = Annotated[str, Header(alias="Idempotency-Key", min_length=1)]

_STATUS_OF: Final = {
    Declined: HTTPStatus.UNPROCESSABLE_ENTITY,
    PartnerUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    RequestValidationError: HTTPStatus.BAD_REQUEST,
}


class Notice(Model):
    """The order is on its way."""

    tracking_number: Text


class Screened(Model):
    """What is to be screened."""

    order_id: str
    items: Items
    address: Address


class Bill(Model):
    """What is to be charged."""

    payment_id: str
    order_id: str
    amount: MinorUnits
    currency: Currency


class Undo(Model):
    """What is to be undone, and of which order."""

    order_id: str
    reason: str = ""


class Parcel(Model):
    """What is to be packed."""

    shipment_id: str
    order_id: str
    items: Items
    address: Address


class Order(Model):
    """What is to be picked up."""

    order_id: str
    shipment_id: str
    address: Address


def create_app(partners: Gateways) -> FastAPI:
    """Serve all partners; which one a path belongs to, its first part says."""
    app = FastAPI(title="Simulated partners", docs_url=None, redoc_url=None)
    _add_sales_and_screening(app, partners)
    _add_payments(app, partners)
    _add_shipping(app, partners)
    for error, status in _STATUS_OF.items():
        app.add_exception_handler(error, _problem(status))
    return app


def _add_sales_and_screening(app: FastAPI, partners: Gateways) -> None:
    @app.get("/orders/{order_id}")
    async def receive(order_id: str) -> Basket:
        return await partners.sales.receive(f"{order_id}:receive", order_id)

    @app.post("/orders/{order_id}/shipped", status_code=HTTPStatus.NO_CONTENT)
    async def confirm_shipped(order_id: str, notice: Notice, key: Key) -> None:
        await partners.sales.confirm_shipped(key, order_id, notice.tracking_number)

    @app.post("/screenings", status_code=HTTPStatus.NO_CONTENT)
    async def validate(screened: Screened, key: Key) -> None:
        await partners.screening.validate(key, screened.order_id, screened.items, screened.address)


def _add_payments(app: FastAPI, partners: Gateways) -> None:
    bank = partners.payments

    @app.post("/charges", status_code=HTTPStatus.NO_CONTENT)
    async def charge(bill: Bill, key: Key) -> None:
        await bank.charge(key, bill.order_id, bill.amount, bill.currency)

    @app.get("/charges/{payment_id}", response_model=Charge)
    async def find(payment_id: str) -> Charge | Response:
        found = await bank.find(payment_id)
        return found or _answer(HTTPStatus.NOT_FOUND, f"there is no charge {payment_id}")

    @app.post("/charges/{payment_id}/void", response_model=Charge)
    async def void(payment_id: str, undo: Undo, key: Key) -> Charge | Response:  # noqa: ARG001
        standing = await bank.void(payment_id, undo.order_id)
        return standing or Response(status_code=HTTPStatus.NO_CONTENT)

    @app.post("/charges/{payment_id}/refund", status_code=HTTPStatus.NO_CONTENT)
    async def refund(payment_id: str, undo: Undo, key: Key) -> None:
        await bank.refund(key, payment_id, undo.order_id, undo.reason)


def _add_shipping(app: FastAPI, partners: Gateways) -> None:
    @app.post("/shipments", status_code=HTTPStatus.NO_CONTENT)
    async def prepare(parcel: Parcel, key: Key) -> None:
        await partners.warehouse.prepare(
            key, parcel.order_id, parcel.shipment_id, parcel.items, parcel.address
        )

    @app.post("/pickups")
    async def dispatch(order: Order, key: Key) -> Pickup:
        return await partners.carrier.dispatch(
            key, order.order_id, order.shipment_id, order.address
        )

    @app.post("/pickups/{pickup}/withdraw", response_model=Pickup)
    async def withdraw(pickup: str, undo: Undo, key: Key) -> Pickup | Response:  # noqa: ARG001
        standing = await partners.carrier.withdraw(pickup, undo.order_id)
        return standing or Response(status_code=HTTPStatus.NO_CONTENT)


def _problem(status: HTTPStatus) -> Any:  # noqa: ANN401 - starlette's own type is no better
    async def answer(_: Request, error: Exception) -> Response:
        return _answer(status, str(error))

    return answer


def _answer(status: HTTPStatus, detail: str) -> Response:
    problem = {"title": status.phrase, "status": status.value, "detail": detail}
    return JSONResponse(problem, status, media_type=PROBLEM)
