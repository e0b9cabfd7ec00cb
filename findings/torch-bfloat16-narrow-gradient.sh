#!/usr/bin/env bash
# PyTorch 2.15.0 on the CPU (oneDNN 3.13): the weight gradient of a strided bfloat16 convolution on a narrow map.
#
# Expected  The gradient of a 3x3 convolution with stride 2 on maps one pixel wide: of the middle column of the filter the sum
#           of the pixels that it met, 12 or 16 here; of the outer columns, which met only padding, 0. So it is in float32.
# Happens   In bfloat16 the outer columns get what memory held before: values of a tensor that is gone, here 1e9, times the
#           gradient, or numbers that change from run to run. The loss shows nothing; after the next step the weights do, and
#           once the map is wider, so do the answers.
# Bites     Who trains in bfloat16 on a CPU with AVX-512 and pools or strides down to narrow maps: small pictures in deep nets,
#           spectrograms, columns of sensors. From 16 channels on.
# Offramp   Meets the same in oneDNN 2.6.3 and computes such gradients with its own kernels
#           (Conv2dCpu.WhatStandsInTheScratchDoesNotMatter).
set -euo pipefail

grep -qw avx512bw /proc/cpuinfo || { echo "this needs a processor with AVX-512" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile torch==2.15.0 numpy==2.4.6
ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 "$work/venv/bin/python" - <<'EOF'
import torch

print("torch", torch.__version__)
torch.set_num_threads(1)


def gradient(dtype):
    """Of one filter of one channel, [3, 3]; every pixel, and the gradient of every output, is 1."""
    x = torch.ones(4, 32, 8, 1, dtype=dtype)
    conv = torch.nn.Conv2d(32, 32, 3, stride=2, padding=1, bias=False, dtype=dtype)
    y = conv(x)
    used = [torch.full((1 << 16,), 1e9) for _ in range(8)]  # memory that was somebody else's before
    del used
    y.backward(torch.ones_like(y))
    return conv.weight.grad[0, 0].double()


right, half = gradient(torch.float32), gradient(torch.bfloat16)
print("float32 ", right.tolist())
print("bfloat16", half.tolist())
outer = torch.tensor([0, 2])
assert right[:, 1].tolist() == half[:, 1].tolist() == [12.0, 16.0, 16.0]
assert (right[:, outer] == 0).all()
assert not (half[:, outer].abs() < 1).all(), "the behaviour has changed"
EOF
