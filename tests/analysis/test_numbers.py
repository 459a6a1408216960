"""Large numbers keep their digits."""

import pytest

from st_mm.analysis.numbers import scaled


@pytest.mark.parametrize(
    ('number', 'digits', 'text'),
    [
        (0, 4, '0'),
        (999, 4, '999'),
        (1000, 4, '1.000 K'),
        (999_949, 4, '999.9 K'),
        (999_960, 4, '1.000 M'),
        (61_837_000_000, 4, '61.84 G'),
        (5_797_000_000_000, 4, '5797 G'),
        (150_000_000, 3, '150 M'),
        (1.1e6, None, '1.1 M'),
        (205.2e6, None, '205.2 M'),
        (8.9e9, None, '8.9 G'),
        (12.5, None, '12.5'),
    ],
)
def test_scaled(number: float, digits: int | None, text: str) -> None:
    assert scaled(number, digits) == text
