#!/usr/bin/env bash
# scipy 1.17.1: `import scipy.stats` fails where the import of torch is blocked, though scipy does not need torch.
#
# `sys.modules["torch"] = None` is Python's own way to make `import torch` raise ModuleNotFoundError (The Python
# Language Reference, 5.3.1). Tests use it to prove that a program works without a package. scipy looks for "torch" in
# `sys.modules` to know whether an array may be a tensor. It takes the None for a module, and asks it for `Tensor`.
# So does `import sklearn`, which imports scipy.stats.
#
# Expected: scipy.stats is imported, as without torch. Seen: AttributeError: 'NoneType' object has no attribute 'Tensor'.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import scipy

sys.modules["torch"] = None
try:
    import scipy.stats

    found = "imported"
except AttributeError as error:
    found = str(error)
print(f"scipy {scipy.__version__}: {found}")
assert found == "'NoneType' object has no attribute 'Tensor'", f"this changed: {found}"
PYTHON
