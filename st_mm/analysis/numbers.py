"""Large numbers, such as MACs, for people to read."""

PREFIXES = ((10**9, 'G'), (10**6, 'M'), (10**3, 'K'))


def scaled(number: float, digits: int | None = 4) -> str:
    """Write MACs, or parameters, with a decimal prefix.

    Args:
        number (float): The number; not negative.
        digits (int, optional): Significant digits. None writes only the digits that the number
            has, as for a published figure. Defaults to 4.

    Returns:
        str: ``'61.84 G'``; a number below a thousand has no prefix.
    """
    if digits is not None and number >= PREFIXES[-1][0]:
        number = float(f'{number:.{digits - 1}e}')  # 999,960 is 1.000 M, not 1000.0 K
    for size, prefix in PREFIXES:
        if number >= size:
            value = number / size
            if digits is None:
                return f'{value:.10g} {prefix}'
            return f'{value:.{max(digits - len(str(int(value))), 0)}f} {prefix}'
    return f'{number:.10g}'
