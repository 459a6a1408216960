"""A report as tables."""

from st_mm.analysis import tables


def test_tables_say_it(drawn, text):
    found = drawn[3]
    blocks, summary = text(tables.blocks(found)), text(tables.summary(found))

    assert max(map(len, blocks.splitlines())) <= 100
    assert '0/16' in blocks
    assert '12/16' in blocks
    assert '3/5' in blocks
    dead = [line for line in blocks.splitlines() if line.strip().startswith(tables.DEAD)]
    assert len(dead) == 1
    assert dead[0].count('0/32') == 3
    assert f'{found.totals.structural.params:,}' in summary
    assert '1 of them dead' in summary
    assert 'not pruned' in text(tables.layers(found.layers))
