"""Writes expected.json: results of mergekit 0.1.5's own kernels (f32, CPU) for the tests of the mergekit dialect.

Run with mergekit 0.1.5 installed:  python plugins/average/tests/mergekit/make_expected.py
"""

import json
import pathlib

import torch
from mergekit.merge_methods.api import merge_state_dicts

torch.manual_seed(20)
N = 48


def plain_list(tensor):
    """Nine digits identify an f32."""
    return [float(f"{x:.9g}") for x in tensor.tolist()]


def models(count, scale, grid):
    base = torch.randn(N) * 0.5
    out = [base] + [base + torch.randn(N) * scale for _ in range(count)]
    if grid:
        out = [torch.round(x * 32) / 32 for x in out]
    return out


def case(name, method, tensors, fusion, per_input, shared):
    """per_input: (mergekit parameters, our edge settings) for each model but the base, where there is one."""
    has_base = fusion["base"]
    ids = ["base" if has_base and i == 0 else f"m{i}" for i in range(len(tensors))]
    parameters = dict(shared)
    first = 1 if has_base else 0
    for key in per_input[0][0] if per_input else []:
        values = [entry[0][key] for entry in per_input]
        parameters[key] = dict(zip(ids[first:], values))
    result = merge_state_dicts(
        {id: {"w": tensor} for id, tensor in zip(ids, tensors)},
        method,
        parameters=parameters,
        base="base" if has_base else None,
    )["w"]
    return {
        "name": name,
        "using": fusion["using"],
        "base": has_base,
        "params": fusion["params"],
        "inputs": ([{}] if has_base else []) + [entry[1] for entry in per_input],
        "values": [plain_list(tensor) for tensor in tensors],
        "expected": plain_list(result),
    }


cases = []
plain = models(3, 0.05, False)
weights = [0.7, 1.1, 0.4]
cases.append(
    case("linear", "linear", plain[1:], {"using": "linear", "base": False, "params": {}},
         [({"weight": w}, {"weight": w}) for w in weights], {"normalize": True})
)
cases.append(
    case("linear as is", "linear", plain[1:], {"using": "linear", "base": False, "params": {"normalize": False}},
         [({"weight": w}, {"weight": w}) for w in weights], {"normalize": False})
)
for t in (0.25, 0.5):
    for label, other in (("far", torch.randn(N)), ("near", plain[1])):
        pair = [plain[0], other]
        slerp = merge_state_dicts({"a": {"w": pair[0]}, "b": {"w": pair[1]}}, "slerp", parameters={"t": t}, base="a")
        cases.append(
            {"name": f"slerp {label} {t}", "using": "slerp", "base": False, "params": {"t": t}, "inputs": [{}, {}],
             "values": [plain_list(x) for x in pair], "expected": plain_list(slerp["w"])}
        )
for normalize in (False, True):
    cases.append(
        case(f"task_arithmetic normalize {normalize}", "task_arithmetic", plain,
             {"using": "task_arithmetic", "base": True, "params": {"lambda": 0.6, "normalize": normalize}},
             [({"weight": w}, {"weight": w}) for w in weights], {"lambda": 0.6, "normalize": normalize})
    )
for grid in (False,):  # with ties the choice among equals is torch's unstable sort, not a rule to follow
    for densities in ([0.5, 0.31, 0.2], [1.0, 0.0, 0.005]):
        for ws in ([0.7, 1.1, 0.4], [0.5, -0.75, 1.0]):
            for normalize in (False, True):
                for rescale in (False, True):
                    for method in ("ties", "dare_linear", "dare_ties"):
                        used = densities if method == "ties" else [1.0] * 3
                        if method != "ties" and (densities[0] != 0.5 or grid):
                            continue
                        params = {
                            "dialect": "mergekit", "lambda": 0.9,
                            "combine": "mean" if normalize else "sum", "rescale": "l1" if rescale else "none",
                        }
                        if method != "ties":
                            params["election"] = "none" if method == "dare_linear" else "weighted"
                        cases.append(
                            case(f"{method} {used} {ws} normalize {normalize} rescale {rescale} grid {grid}", method,
                                 models(3, 0.05, grid),
                                 {"using": method.split("_")[0], "base": True, "params": params},
                                 [({"weight": w, "density": d}, {"weight": w, "density": d}) for w, d in zip(ws, used)],
                                 {"normalize": normalize, "rescale": rescale, "lambda": 0.9})
                        )
for scale in (0.05, 1e-5):
    cases.append(
        case(f"model_stock {scale}", "model_stock", models(3, scale, False),
             {"using": "model_stock", "base": True, "params": {"dialect": "mergekit"}}, [({}, {})] * 3, {})
    )

lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in cases)
target = pathlib.Path(__file__).with_name("expected.json")
target.write_text("[\n" + lines + "\n]\n")
print(f"{len(cases)} cases, {target.stat().st_size} bytes")
