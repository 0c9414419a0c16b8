#!/usr/bin/env bash
# accelerate 1.15.0 with transformers 4.57.6: a model that is unwrapped after bf16 training computes in two precisions.
#
# `prepare` wraps the `forward` of the model itself in an autocast of bf16. `unwrap_model` leaves this wrapper on the
# model (`keep_fp32_wrapper` is True by default). So `model(…)` and `model.generate(…)` of the unwrapped model still
# compute in bf16. A part of the same model that is called alone, such as `model.get_encoder()`, computes in fp32.
# An evaluation that encodes once and then decodes step by step mixes both, and its numbers are those of neither.
#
# Expected: the unwrapped model computes in one precision. Seen: the encoder's first layer gives bfloat16 as a part of
# the model's forward, and float32 when the encoder is called.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 accelerate==1.15.0 transformers==4.57.6
"$folder/venv/bin/python" - <<'PYTHON'
import accelerate
import torch
import transformers
from accelerate import Accelerator
from transformers import T5Config, T5ForConditionalGeneration

torch.manual_seed(0)
size = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
model = T5ForConditionalGeneration(T5Config(**size, decoder_start_token_id=0)).eval()
accelerator = Accelerator(mixed_precision="bf16", cpu=True)
unwrapped = accelerator.unwrap_model(accelerator.prepare(model))
dtypes = []
first = unwrapped.encoder.block[0].layer[0].SelfAttention.q
first.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
ids = torch.arange(1, 9)[None]
with torch.no_grad():
    unwrapped(input_ids=ids, decoder_input_ids=ids)
    unwrapped.get_encoder()(ids)
print(f"accelerate {accelerate.__version__}, transformers {transformers.__version__}: {dtypes}")
assert dtypes == [torch.bfloat16, torch.float32], f"this changed: {dtypes}"
PYTHON
