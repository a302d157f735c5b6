import pytest

from domain.money import in_units


@pytest.mark.parametrize(
    ("amount", "currency", "said"),
    [
        (0, "USD", "0.00"),
        (5, "EUR", "0.05"),
        (90_000, "USD", "900.00"),
        (123_456_789, "USD", "1,234,567.89"),
        (90_000, "JPY", "90,000"),
        (90_001, "KWD", "90.001"),
        (10**15, "XXX", "10,000,000,000,000.00"),
    ],
)
def test_an_amount_is_written_in_the_units_of_its_currency(
    amount: int, currency: str, said: str
) -> None:
    assert in_units(amount, currency) == said
