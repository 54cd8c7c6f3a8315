#!/usr/bin/env bash
# Makes the Python environment that the peer comparison runs mergekit in.
#
#   benches/peers/setup.sh [DIR]        default DIR: /tmp/peers
#
# torch's Linux wheel on PyPI is the CUDA build, and `import torch` fails unless its CUDA libraries are there too
# (libcudart, libcublasLt, ...), also on a machine without a GPU. So everything is installed: about 6 GB.
# requirements.txt holds the versions that the numbers in BENCHMARKS.md were measured with.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
dir="${1:-/tmp/peers}"
python="${PYTHON:-python3}"

"$python" -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info < (3, 14) else 1)' \
    || { echo "setup.sh: python 3.10 to 3.13 is needed (set PYTHON=...)" >&2; exit 1; }
[ -x "$dir/bin/python" ] || "$python" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --upgrade pip
"$dir/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"
"$dir/bin/python" - <<'PY'
import importlib.metadata as m
import torch

print("torch", torch.__version__, "with", torch.get_num_threads(), "threads")
for name in ("mergekit", "transformers", "safetensors", "numpy"):
    print(name, m.version(name))
PY
