# makes the files of x-mc8: python make.py . (numpy, safetensors, pyarrow)
import itertools, sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from safetensors.numpy import save_file
to = sys.argv[1]

def save(name, *layers):
    tensors = {}
    for i, (weight, bias) in enumerate(layers):
        tensors[f"layers.{i}.weight"] = np.ascontiguousarray(weight, np.float32)
        tensors[f"layers.{i}.bias"] = np.ascontiguousarray(bias, np.float32)
    save_file(tensors, f"{to}/{name}.safetensors")

# XOR: units u = relu(x1 - x2) and v = relu(x2 - x1); the second logit is 6 (sum of out*unit - 1), the first is 0.
u, v, w = [1, -1], [-1, 1], [1, 1]
def xor(name, units, out):
    save(name, (units, [0] * len(units)), ([[0] * len(units), [6 * o for o in out]], [0, -6]))
xor("two-a", [u, v], [1, 1])
xor("two-b", [v, u], [1, 1])
chain = [([u, v, w], [1, 1, 0]), ([u, v, u], [1, 1, 0]), ([u, v, u], [0, 1, 1]), ([v, v, u], [0, 1, 1]), ([v, v, u], [1, 0, 1]),
         ([v, u, u], [1, 0, 1]), ([v, u, u], [1, 1, 0]), ([v, u, w], [1, 1, 0])]
for i, (units, out) in enumerate(chain):
    xor(f"three-{i}", units, out)

# Git Re-Basin's pair (src/sgd_is_special.py): the second logit is the network's output, the first is 0.
def pair(name, k0, b0, k1, b1, first, second):
    k0, b0, k1, b1 = (np.array(x, float) for x in (k0, b0, k1, b1))
    k2 = np.array([[0, 0], [-1, -1]], float)
    if first: k0, b0, k1 = k0[::-1], b0[::-1], k1[:, ::-1]
    if second: k1, b1, k2 = k1[::-1], b1[::-1], k2[:, ::-1]
    save(name, (k0.copy(), b0.copy()), (k1.copy(), b1.copy()), (k2.copy(), [0, 0]))
pair("pair-a", [[-1, 0], [0, -1]], [1, 0], [[-1, 0], [0, 1]], [1, 0], False, False)
for first, second in itertools.product([False, True], repeat=2):
    pair(f"pair-b{int(first)}{int(second)}", [[1, 0], [0, 1]], [0, 1], [[1, 0], [0, -1]], [0, 1], first, second)

# 200 x 200 cells of [-1, 1]^2 by their centres; y = [x1 <= 0 and x2 >= 0].
at = (np.arange(200) + .5) / 100 - 1
x1, x2 = (g.ravel().astype(np.float32) for g in np.meshgrid(at, at, indexing="ij"))
table = pa.table({"x1": x1, "x2": x2, "y": ((x1 <= 0) & (x2 >= 0)).astype(np.int32)})
pq.write_table(table, f"{to}/quadrant.parquet", compression="zstd")
