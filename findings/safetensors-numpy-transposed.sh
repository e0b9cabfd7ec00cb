#!/usr/bin/env bash
# safetensors 0.8.0 (NumPy 2.4.6): safetensors.numpy.save_file of a view.
#
# Expected  The file holds the array, whatever its strides are; or an error, as its PyTorch side raises.
# Happens   A transposed or Fortran-ordered array is written as it lies in memory, under the shape of the
#           view. The shape is right, the numbers are permuted, nothing is said.
# Bites     Whoever turns (in, out) kernels into (out, in) by .T for another program. A square layer, or one
#           whose shape is right, loads and answers nonsense.
# Offramp   Checks names and shapes, which cannot show it; docs/reference/pytorch.md says to write
#           numpy.ascontiguousarray(w.T). What it writes itself is in order
#           (StateDict.ValuesLieOnDiskInTheOrderOfPyTorch).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile \
  numpy==2.4.6 safetensors==0.8.0
"$work/venv/bin/python" - <<'EOF'
import os
import tempfile
from importlib.metadata import version

import numpy
from safetensors.numpy import load_file, save_file

print("safetensors", version("safetensors"), "numpy", numpy.__version__)


def stored(array):
    """The array after a way through a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "w.safetensors")
        save_file({"w": array}, path)
        return load_file(path)["w"]


kernel = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
for name, array in (("w.T", kernel.T), ("Fortran order", numpy.asfortranarray(kernel))):
    back = stored(array)
    print(f"{name}: saved {array.tolist()}, loaded {back.tolist()}")
    assert back.shape == array.shape
    assert not numpy.array_equal(back, array)
    assert numpy.array_equal(back.ravel(), kernel.ravel() if name == "w.T" else kernel.ravel(order="F"))
copied = stored(numpy.ascontiguousarray(kernel.T))
print("ascontiguousarray(w.T):", copied.tolist())
assert numpy.array_equal(copied, kernel.T)
EOF
