"""The hashes of tests/attacks/defences_test.cpp: ImageHash 4.3.2 over Pillow 13.0, SciPy 1.17.

pip install ImageHash==4.3.2 pillow==13.0.0 scipy==1.17.1; python image_hash.py
"""
import imagehash
import numpy as np
from PIL import Image


def picture(height, width):
    y, x = np.mgrid[0:height, 0:width]
    planes = [7 * x + 13 * y + (x * y) % 17, 3 * x * x + 5 * y, 251 * x + y * y + (x ^ y)]
    return Image.fromarray((np.stack(planes, -1) % 256).astype(np.uint8))


for height, width in [(32, 32), (28, 28), (64, 64), (97, 41), (8, 200), (300, 224), (5, 7)]:
    image = picture(height, width)
    print(height, width, imagehash.phash(image), imagehash.average_hash(image))
