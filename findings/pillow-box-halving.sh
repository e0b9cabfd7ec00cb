#!/usr/bin/env bash
# Pillow 13.0.0 (NumPy 2.4.6): halving a picture with resize(..., BOX).
#
# Expected  BOX at exactly half the size is the mean of 2x2 pixels, rounded to the nearest level.
# Happens   It rounds twice, first along rows, then along columns, half up each time: 3 of 8 values are one
#           level too high, even some whose mean is a whole number. Image.reduce(2) is the rounded mean.
# Bites     Who makes a data set smaller with one and compares, hashes or attacks with the other: the mean
#           of the set moves by 0.37 levels, and two equal pictures differ in a third of their values.
# Offramp   Exact halving is the mean of 2x2, rounded half up (Resize.Mean2x2RoundsHalfUp), as reduce(2) and
#           the area method of OpenCV do.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 pillow==13.0.0
"$work/venv/bin/python" - <<'EOF'
import numpy
import PIL
from PIL import Image

print("Pillow", PIL.__version__, "numpy", numpy.__version__)
# Every kind of 2x2 block: four levels that run through different remainders.
noise = numpy.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=numpy.uint8)
sums = noise.reshape(128, 2, 128, 2, 3).astype(int).sum(axis=(1, 3))
mean = (sums + 2) // 4  # rounded half up
picture = Image.fromarray(noise)
box = numpy.asarray(picture.resize((128, 128), Image.Resampling.BOX)).astype(int) - mean
reduced = numpy.asarray(picture.reduce(2)).astype(int) - mean
print("BOX minus rounded mean:", dict(zip(*(v.tolist() for v in numpy.unique(box, return_counts=True)))))
for rest in range(4):
    part = box[sums % 4 == rest]
    print(f"  sum of the four = {rest} modulo 4: {100 * (part == 1).mean():.1f} % one level too high")
print("reduce(2) minus rounded mean:", numpy.unique(reduced).tolist())
assert set(numpy.unique(box)) == {0, 1}
assert 0.36 < (box == 1).mean() < 0.39
assert (box[sums % 4 == 1] == 1).all() and (box[(sums % 4 == 0)] == 1).any()
assert (reduced == 0).all()
tile = numpy.array([[0, 1], [0, 3]], dtype=numpy.uint8)  # mean exactly 1
got = int(numpy.asarray(Image.fromarray(tile).resize((1, 1), Image.Resampling.BOX))[0, 0])
print("mean of 0 1 0 3 by BOX:", got)
assert got == 2
EOF
