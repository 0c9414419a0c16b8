#!/usr/bin/env bash
# transformers 4.57.6 and 5.24.0, tokenizers: one call with truncation changes what is saved later.
#
# `tokenizer(text, truncation=True, max_length=4)` sets the limit in the Rust tokenizer and leaves it there.
# `save_pretrained` then writes it to tokenizer.json, though nobody asked the saved tokenizer for a limit.
# transformers itself resets it with each call, so nothing is seen there. But whoever reads the file with
# `tokenizers` (a server, say) has all texts cut at 4 tokens, without a warning.
#
# Expected: the saved file has no truncation, as before the call. Seen: max_length 4, and 4 of 8 tokens.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 4.57.6 5.24.0; do
  python3 -m venv --clear "$folder/venv"
  "$folder/venv/bin/python" -m pip install --quiet "transformers==$version"
  "$folder/venv/bin/python" - "$folder/saved" <<'PYTHON'
import json
import sys

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

words = ["<unk>", "one", "two", "three", "four", "five", "six", "seven", "eight"]
text = " ".join(words[1:])
raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
raw.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")


def saved() -> tuple[object, int]:
    tokenizer.save_pretrained(sys.argv[1])
    path = f"{sys.argv[1]}/tokenizer.json"
    limit = json.load(open(path))["truncation"]
    return limit and limit["max_length"], len(Tokenizer.from_file(path).encode(text).ids)


before = saved()
tokenizer(text, truncation=True, max_length=4)
after = saved()
print(f"transformers {transformers.__version__}: limit and tokens before {before}, after {after}")
assert before == (None, 8), before
assert after == (4, 4), f"this changed: {after}"
PYTHON
done
