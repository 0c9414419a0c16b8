import numpy as np
import pytest

from service.engine.confidence import rank


def test_rank_is_a_tempered_softmax() -> None:
    order, probabilities = rank(np.log([0.2, 0.4, 0.2]), temperature=1.0)
    assert order == [1, 0, 2]  # equals stay in their order
    assert probabilities == pytest.approx([0.25, 0.5, 0.25])
    order, probabilities = rank(np.array([-4000.0, -4002.0]), temperature=2.0)
    assert order == [0, 1]
    assert probabilities == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.e)])
    assert rank(np.array([-4000.0, -4002.0]), temperature=1e-306) == ([0, 1], [1.0, 0.0])
