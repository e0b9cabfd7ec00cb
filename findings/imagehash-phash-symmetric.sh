#!/usr/bin/env bash
# ImageHash 4.3.2 (Pillow 13.0.0, SciPy 1.17.1, NumPy 2.4.6): phash of a picture with an axis of symmetry.
#
# Expected  Pictures that differ in one pixel by one level of 255 have hashes that differ in none or few of 64 bits: that
#           is what a perceptual hash is for.
# Happens   A picture that is its own mirror image has exact zeros at every odd frequency, so the median is 0 and the bits
#           there say "not above 0". One level in one pixel makes them small numbers of either sign: 24 bits change, more
#           than a usual limit for "another picture" (10). The same change moves no bit of a picture without symmetry.
# Bites     Who looks for near-duplicates among icons, drawn digits and other rendered pictures, or draws one delay for
#           all near-duplicates of an input, as TimeGuard does: there each near-duplicate has its own draw.
# Offramp   The same hash, bit for bit (its numbers would mean nothing otherwise); zeros are exact here too and not left to
#           rounding (ImageHash.ZerosOfSymmetricPicturesAreExact). Paddings without random draws do not hash at all.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile imagehash==4.3.2 pillow==13.0.0 \
  scipy==1.17.1 numpy==2.4.6
"$work/venv/bin/python" - <<'EOF'
import imagehash
import numpy
import PIL
import scipy
from PIL import Image

print("ImageHash", imagehash.__version__, "Pillow", PIL.__version__, "SciPy", scipy.__version__, "NumPy", numpy.__version__)


def bits_that_change(picture):
    moved = picture.copy()
    moved[0, 0] += 1  # one level in the corner
    before, after = (imagehash.phash(Image.fromarray(p)) for p in (picture, moved))
    print(f"  {before} -> {after}: {before - after} of 64 bits")
    return before - after


box = numpy.zeros((28, 28), dtype=numpy.uint8)
box[8:20, 10:18] = 255  # a bar in the middle
print("a bar in the middle, one pixel one level brighter:")
symmetric = bits_that_change(box)
shifted = numpy.roll(box, (3, -4), axis=(0, 1))
print("the same bar off the middle:")
other = bits_that_change(shifted)
assert symmetric == 24 and other == 0
EOF
