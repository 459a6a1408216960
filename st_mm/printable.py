"""Text out of files, safe to show."""

import re

# what moves a cursor, changes colours, ends a line or turns the direction of writing round
UNPRINTABLE = re.compile(
    '[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]'
)


def printable(text: object, longest: int = 2000) -> str:
    r"""Show control characters instead of obeying them, on a terminal, in a table or in a page.

    Args:
        text (object): Text from a file; anything else is turned into text first.
        longest (int): Characters that are kept. Defaults to 2000.

    Returns:
        str: The text, with ``\\x1b`` and its like in place of control characters.
    """
    shown = UNPRINTABLE.sub(lambda match: _name(ord(match[0])), str(text)[: longest + 1])
    return shown if len(shown) <= longest else shown[:longest] + '...'


def reason(error: BaseException) -> str:
    """What an error says, in one line.

    torch answers a file that it does not read with a page about trust; the reason is in it.

    Args:
        error (BaseException): What a loader has raised.

    Returns:
        str: The line, with the error's name where it says a key alone, or that name where it says
        nothing.
    """
    text = str(error).strip()
    text = text.partition('WeightsUnpickler error: ')[2] or text
    text = text.partition('Please use `torch.serialization')[0]
    line, name = printable(text.split('\n')[0].strip()), type(error).__name__
    if isinstance(error, KeyError):  # says the key alone
        return f'{name} {line}'
    return line or name


def _name(code: int) -> str:
    return f'\\x{code:02x}' if code < 256 else f'\\u{code:04x}'
