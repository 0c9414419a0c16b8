from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import T5ForConditionalGeneration

from tests.support.simple_problems import distillation
from tests.support.tiny_students import tiny_student
from training.distill import main
from training.student.rounding import WEIGHT_LEVELS, quantize_weight, round_weights


def matrices(model: T5ForConditionalGeneration) -> dict[str, np.ndarray]:
    layers = {
        name: layer.weight.detach().numpy()
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
    }
    return layers | {"shared": model.shared.weight.detach().numpy()}


def test_a_channel_is_rounded_by_its_own_largest_weight() -> None:
    weight = np.array([[0.5, -1.0, 0.26], [0.0, 0.0, 0.0], [64.0, 1.4, -1.6]], np.float32)
    values, scale = quantize_weight(weight, axis=0)
    assert values.tolist() == [[32, -64, 17], [0, 0, 0], [64, 1, -2]]
    assert scale[[0, 2]].tolist() == [1 / 64, 1.0]


def test_rounded_weights_are_near_and_stay_when_rounded_again() -> None:
    for kind in ("v1_0", "v1_1"):  # with tied embeddings, and without
        model = tiny_student(kind).model
        before = {name: weight.copy() for name, weight in matrices(model).items()}
        biases = (
            model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.clone()
        )
        round_weights(model)
        after = {name: weight.copy() for name, weight in matrices(model).items()}
        for name, weight in after.items():
            step = np.abs(before[name]).max(axis=1, keepdims=True) / WEIGHT_LEVELS
            assert (np.abs(weight - before[name]) <= step * 0.501).all()
            assert np.abs(weight - before[name]).max() > 0
        assert (
            model.encoder.block[0]
            .layer[0]
            .SelfAttention.relative_attention_bias.weight.equal(biases)
        )
        round_weights(model)
        for name, weight in matrices(model).items():
            np.testing.assert_allclose(weight, after[name], rtol=1e-6)


@pytest.mark.parametrize("objective", ["dss", "mi-infonce"])  # which has heads of its own
def test_a_student_is_written_as_it_was_rounded(objective: str, tmp_path: Path) -> None:
    for weights in ("fp32", "int8"):
        out = tmp_path / weights
        arguments = distillation(tmp_path, f"weights={weights}", f"objective={objective}")
        assert main([*arguments, f"output_dir={out}"]) == 0
        model = T5ForConditionalGeneration.from_pretrained(out)
        before = model.shared.weight.clone()
        round_weights(model)
        assert torch.allclose(model.shared.weight, before, rtol=1e-6) == (weights == "int8")
