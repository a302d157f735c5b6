"""Checks of money and parcels: the service's tables against the partners' own books."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from tests.chaos.checks import Violation
from tests.chaos.evidence import Entry, Evidence, PaymentRow

_SETTLED: Final[dict[tuple[int, int], set[str | None]]] = {
    (0, 0): {None, "declined", "void"},
    (1, 0): {"charged"},
    (1, 1): {"refunded"},
}
"""Charges and refunds in the bank's books, and what a payment may be then."""


def _books(evidence: Evidence) -> dict[str, dict[str, list[Entry]]]:
    """Return the partners' entries by order and operation."""
    books: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in evidence.books:
        books[entry.order_id][entry.operation].append(entry)
    return books


def charged_once_and_given_back(evidence: Evidence) -> Iterator[Violation]:
    """At most one charge and one refund; a card stays charged for a shipped order alone."""
    name = "money"
    books = _books(evidence)
    for order_id in books.keys() | evidence.orders.keys():
        charges, refunds = books[order_id]["charge"], books[order_id]["refund"]
        row = evidence.orders.get(order_id)
        state = row.state if row else "unknown"
        if len(charges) > 1 or len(refunds) > 1:
            text = f"charged {len(charges)} times, refunded {len(refunds)} times"
            yield Violation(name, order_id, text)
        elif (len(charges) == len(refunds)) == (state == "shipped"):
            text = f"is {state}, charged {len(charges)} times, refunded {len(refunds)} times"
            yield Violation(name, order_id, text)
        amounts = {(e.detail["amount"], e.detail["currency"]) for e in [*charges, *refunds]}
        owed = {(row.others["amount"], row.others["currency"])} if row else set()
        if amounts and amounts != owed:
            yield Violation(name, order_id, f"the bank moved {amounts}, the order says {owed}")


def payments_agree_with_the_bank(evidence: Evidence) -> Iterator[Violation]:
    """Table payments and the bank's books tell the same; an order has one payment at most."""
    name = "payments agree with the bank"
    books = _books(evidence)
    payments: dict[str, list[PaymentRow]] = defaultdict(list)
    for payment in evidence.payments:
        payments[payment.order_id].append(payment)
    for order_id in books.keys() | payments.keys():
        entries, found = books[order_id], payments[order_id]
        counts = (len(entries["charge"]), len(entries["refund"]))
        status = found[0].status if found else None
        if len(found) > 1 or status not in _SETTLED.get(counts, set()):
            text = f"{len(found)} payments, {status}; the bank has (charges, refunds) {counts}"
            yield Violation(name, order_id, text)
        moved = {(e.detail["amount"], e.detail["currency"]) for e in entries["charge"]}
        written = {(payment.amount, payment.currency) for payment in found}
        if moved and moved != written:
            yield Violation(name, order_id, f"the bank moved {moved}, payments say {written}")


def parcels_agree_with_the_carrier(evidence: Evidence) -> Iterator[Violation]:
    """The carrier has the parcel of every shipped order, once, under the last address."""
    books = _books(evidence)
    for order_id, row in evidence.orders.items():
        dispatched = books[order_id]["dispatch"]
        if len(dispatched) != (row.state == "shipped"):
            text = f"is {row.state}, the carrier was given {len(dispatched)} parcels"
            yield Violation("parcels", order_id, text)
        for entry in dispatched:
            if entry.detail["address"] != row.others["address"]:
                text = f"went to {entry.detail['address']}, not to {row.others['address']}"
                yield Violation("parcels", order_id, text)
