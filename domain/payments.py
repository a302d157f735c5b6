"""The statuses of an order's payment and which may follow which."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class PaymentStatus(StrEnum):
    """Where a payment is; ``charging`` and ``refunding`` are written before the bank is asked."""

    CHARGING = "charging"
    CHARGED = "charged"
    DECLINED = "declined"
    REFUNDING = "refunding"
    REFUNDED = "refunded"
    VOID = "void"


UNSETTLED: Final = frozenset({PaymentStatus.CHARGING, PaymentStatus.REFUNDING})

PAYMENT_MAY_BECOME: Final[Mapping[PaymentStatus | None, frozenset[PaymentStatus]]] = (
    MappingProxyType(
        {
            None: frozenset({PaymentStatus.CHARGING}),
            PaymentStatus.CHARGING: frozenset(
                {PaymentStatus.CHARGED, PaymentStatus.DECLINED, PaymentStatus.VOID}
            ),
            PaymentStatus.CHARGED: frozenset({PaymentStatus.REFUNDING}),
            PaymentStatus.DECLINED: frozenset(),
            PaymentStatus.REFUNDING: frozenset({PaymentStatus.REFUNDED}),
            PaymentStatus.REFUNDED: frozenset(),
            PaymentStatus.VOID: frozenset({PaymentStatus.CHARGED}),
        }
    )
)
"""Every allowed move; ``None`` is a payment that does not exist yet.

``void`` is a charge that the bank did not know of when the order was given up. It may become
``charged``: a charge that hung at the bank can still succeed, and is then refunded.
"""
