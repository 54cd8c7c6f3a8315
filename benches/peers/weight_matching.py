"""Weight matching as git-re-basin's reference does it, in NumPy and SciPy: what `weight_matching` is measured against.

Written from the description of the algorithm (Ainsworth, Hayase, Srinivasa, "Git Re-Basin", ICLR 2023): coordinate descent over the
permutation groups in random order, each a linear assignment on the sum of products of all tensors that the group is in, from the identity,
until a sweep gains nothing. Costs in f32, as JAX has them by default; the assignment casts to f64.

    cargo run --release -p fusion-align --example speed -- 784,512,512,512,10 /tmp/pair
    python weight_matching.py 784,512,512,512,10 /tmp/pair
"""

import sys
import time

import numpy as np
from scipy.optimize import linear_sum_assignment


def load(path, dims):
    """Flat f32: weights [in, out] and bias of each layer."""
    flat, model, at = np.fromfile(path, np.float32), {}, 0
    for layer, (into, out) in enumerate(zip(dims, dims[1:])):
        model[f"w{layer}"] = flat[at : at + into * out].reshape(into, out)
        at += into * out
        model[f"b{layer}"] = flat[at : at + out]
        at += out
    return model


def specification(layers):
    """Group -> [(tensor, axis)], and tensor -> group of each axis."""
    axes = {}
    for layer in range(layers):
        into = f"p{layer - 1}" if layer > 0 else None
        out = f"p{layer}" if layer < layers - 1 else None
        axes[f"w{layer}"], axes[f"b{layer}"] = (into, out), (out,)
    groups = {}
    for name, own in axes.items():
        for axis, group in enumerate(own):
            if group is not None:
                groups.setdefault(group, []).append((name, axis))
    return groups, axes


def permuted(axes, permutation, name, model, but=None):
    """A tensor with all axes but one in the order of their groups."""
    tensor = model[name]
    for axis, group in enumerate(axes[name]):
        if axis != but and group is not None:
            tensor = np.take(tensor, permutation[group], axis=axis)
    return tensor


def match(groups, axes, a, b, rng, most=100):
    permutation = {group: np.arange(a[uses[0][0]].shape[uses[0][1]]) for group, uses in groups.items()}
    names = list(groups)
    for sweep in range(most):
        progress = False
        for index in rng.permutation(len(names)):
            group = names[index]
            n = len(permutation[group])
            cost = np.zeros((n, n), np.float32)
            for name, axis in groups[group]:
                left = np.moveaxis(a[name], axis, 0).reshape(n, -1)
                right = np.moveaxis(permuted(axes, permutation, name, b, axis), axis, 0).reshape(n, -1)
                cost += left @ right.T
            rows, found = linear_sum_assignment(cost, maximize=True)
            old = cost[np.arange(n), permutation[group]].sum(dtype=np.float64)
            new = cost[np.arange(n), found].sum(dtype=np.float64)
            progress |= new > old + 1e-12
            permutation[group] = found
        if not progress:
            break
    return permutation, sweep + 1


def main():
    dims = [int(size) for size in sys.argv[1].split(",")]
    a, b = (load(f"{sys.argv[2]}/{name}.f32", dims) for name in "ab")
    groups, axes = specification(len(dims) - 1)
    clock, used, rounds = time.perf_counter(), time.process_time(), 3
    for seed in range(rounds):
        permutation, sweeps = match(groups, axes, a, b, np.random.default_rng(seed))
        value = sum(
            float((a[name].astype(np.float64) * permuted(axes, permutation, name, b)).sum()) for name in a
        )
        print(f"seed {seed}: {sweeps} sweeps, objective {value:.6f}")
    clock, used = (time.perf_counter() - clock) / rounds, (time.process_time() - used) / rounds
    print(f"{clock:.3f} s of clock, {used:.3f} s of processor a run")


if __name__ == "__main__":
    main()
