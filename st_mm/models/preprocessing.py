"""What a data preprocessor does to pictures."""

from typing import Any


def normalization(preprocessor: Any) -> dict[str, Any]:
    """Mean, std and order of channels, as the data preprocessor applies them.

    Args:
        preprocessor (nn.Module, optional): Of any of the libraries, which name these differently.

    Returns:
        dict: ``channel_order``, ``'rgb'`` or ``'bgr'``, for pictures that are read as BGR; ``mean``
        and ``std`` by channel of the network, where there are any.
    """
    swapped = any(
        bool(getattr(preprocessor, name, False))
        for name in ('channel_conversion', '_channel_conversion', 'to_rgb')
    )
    facts: dict[str, Any] = dict(channel_order='rgb' if swapped else 'bgr')
    for name in ('mean', 'std'):
        value = getattr(preprocessor, name, None)
        if value is not None:
            facts[name] = [float(v) for v in value.flatten()]
    return facts
