"""Compares two checkpoints element by element; run with the Python of setup.sh's environment.

    /tmp/peers/bin/python agree.py A B [--base C]

Prints one JSON object: tensors and elements compared, how many values differ, by how much, and, with `--base`, the
relative error of the change that the merge makes: rms(A - B) / rms(B - C). That last figure tells a difference in
rounding (below a few per cent) from a difference in method.
"""

import argparse
import json
import pathlib
import sys

import torch
from safetensors import safe_open

CHUNK = 1 << 22


class Checkpoint:
    """The tensors of all safetensors files of a folder, opened lazily."""

    def __init__(self, folder):
        files = sorted(pathlib.Path(folder).glob("*.safetensors"))
        if not files:
            sys.exit(f"agree.py: `{folder}` holds no safetensors file")
        self.where = {}
        for file in files:
            handle = safe_open(file, framework="pt")
            for name in handle.keys():
                if name in self.where:
                    sys.exit(f"agree.py: `{folder}` holds `{name}` twice")
                self.where[name] = handle

    def __getitem__(self, name):
        return self.where[name].get_tensor(name)


def compare(a, b, base=None):
    names = sorted(a.where)
    if names != sorted(b.where):
        missing = sorted(set(a.where) ^ set(b.where))
        sys.exit(f"agree.py: {len(missing)} tensors are only in one of the two, first `{missing[0]}`")
    total = {"tensors": len(names), "elements": 0, "differing": 0, "max_abs_diff": 0.0, "non_finite": 0}
    worst, error, change = None, 0.0, 0.0
    dtypes = set()
    for name in names:
        x, y = a[name], b[name]
        if x.shape != y.shape:
            sys.exit(f"agree.py: `{name}` has shape {list(x.shape)} in one and {list(y.shape)} in the other")
        dtypes.add((str(x.dtype), str(y.dtype)))
        origin = base[name].flatten() if base else None
        x, y = x.flatten(), y.flatten()
        for start in range(0, x.numel(), CHUNK):
            left, right = x[start : start + CHUNK].double(), y[start : start + CHUNK].double()
            diff = (left - right).abs()
            total["elements"] += diff.numel()
            total["non_finite"] += int((~torch.isfinite(left)).sum()) + int((~torch.isfinite(right)).sum())
            total["differing"] += int((left != right).sum())
            largest = float(diff.max())
            if largest > total["max_abs_diff"]:
                total["max_abs_diff"], worst = largest, name
            error += float((diff * diff).sum())
            if base:
                delta = right - origin[start : start + CHUNK].double()
                change += float((delta * delta).sum())
    total["share_differing"] = total["differing"] / max(total["elements"], 1)
    total["worst_tensor"] = worst
    total["rms_diff"] = (error / max(total["elements"], 1)) ** 0.5
    if base:
        total["relative_error_of_change"] = (error / change) ** 0.5 if change else None
    total["dtypes"] = sorted(dtypes)
    return total


def main():
    parser = argparse.ArgumentParser(description="compare two checkpoints element by element")
    parser.add_argument("a", metavar="A")
    parser.add_argument("b", metavar="B")
    parser.add_argument("--base", metavar="C", help="also the relative error of the change from this checkpoint")
    arguments = parser.parse_args()
    base = Checkpoint(arguments.base) if arguments.base else None
    print(json.dumps(compare(Checkpoint(arguments.a), Checkpoint(arguments.b), base)))


if __name__ == "__main__":
    main()
