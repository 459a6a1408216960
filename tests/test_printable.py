"""What a file says is shown, and not obeyed."""

import pytest

from st_mm.printable import printable, reason


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('plain äöü 漢字', 'plain äöü 漢字'),
        ('\x1b[2J\x1b]0;title\x07', '\\x1b[2J\\x1b]0;title\\x07'),
        ('a\0b\nc\rd\te', 'a\\x00b\\x0ac\\x0dd\\x09e'),
        ('\x9b31m\x7f', '\\x9b31m\\x7f'),
        ('abc\u202ecba', 'abc\\u202ecba'),
        ('\ud800', '\\ud800'),
        (7, '7'),
        ('x' * 3000, 'x' * 2000 + '...'),
    ],
)
def test_printable(text, shown) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown or len(shown) > 2000


def test_reason() -> None:
    page = (
        'Weights only load failed. \x1b[1mdo those\n\t(2)\n\tWeightsUnpickler error: Unsupported '
        'global: GLOBAL eval was not allowed. Please use `torch.serialization.add_safe_globals`'
    )
    assert reason(ValueError(page)) == 'Unsupported global: GLOBAL eval was not allowed.'
    assert reason(EOFError()) == 'EOFError'
    assert reason(KeyError(101)) == 'KeyError 101'  # of a file of text
    assert reason(ValueError('one\ntwo')) == 'one'
