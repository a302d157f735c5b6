"""Amounts of money as people read them."""

from typing import Final

DIGITS: Final = {
    "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
    "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0,
    "RWF": 0, "UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
}  # fmt: skip
"""Currencies whose smallest unit is not a hundredth (ISO 4217)."""


def in_units(amount: int, currency: str) -> str:
    """Return an amount of minor units in whole units of its currency, as ``1,035.75``."""
    digits = DIGITS.get(currency, 2)
    whole, rest = divmod(amount, 10**digits)
    return f"{whole:,}.{rest:0{digits}}" if digits else f"{whole:,}"
