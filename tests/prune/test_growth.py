import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from st_mm.prune import grow

FEW = settings(max_examples=50, deadline=None, derandomize=True)


@FEW
@given(seed=st.integers(0, 2**16), share=st.floats(0, 1))
def test_the_highest_masked_scores_of_the_whole_network(seed: int, share: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    scores = {
        name: torch.rand(shape, generator=draw) for name, shape in dict(a=(3, 4), b=7).items()
    }
    masked = {name: torch.rand(s.shape, generator=draw) < 0.6 for name, s in scores.items()}
    total = sum(int(where.sum()) for where in masked.values())
    picked = grow(scores, masked, share)

    assert sum(int(where.sum()) for where in picked.values()) == int(share * total + 1e-9)
    assert all((where <= masked[name]).all() for name, where in picked.items())
    chosen = torch.cat([scores[name][where] for name, where in picked.items()])
    left = torch.cat([scores[name][masked[name] & ~where] for name, where in picked.items()])
    if len(chosen) and len(left):
        assert chosen.min() >= left.max()


def test_ties_go_together() -> None:
    scores = dict(a=torch.tensor([2.0, 1.0, 1.0, 1.0]))
    picked = grow(scores, dict(a=torch.ones(4, dtype=torch.bool)), 0.5)
    assert picked['a'].tolist() == [True] * 4


@pytest.mark.parametrize('masked', [{}, dict(a=torch.zeros(3, dtype=torch.bool))], ids=str)
def test_nothing_masked_frees_nothing(masked) -> None:
    picked = grow(dict(a=torch.ones(3)), masked, 1.0)
    assert picked.keys() == masked.keys()
    assert not any(where.any() for where in picked.values())
