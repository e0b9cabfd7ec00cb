#pragma once
// Data sets in NumPy's .npz, as users save them: one set (images or features, labels) or two (train_images,
// train_labels, test_images, ..; val_ stands in where test_ is missing), and perhaps class_names.
//   images    uint8 [n,h,w], [n,h,w,1] or [n,h,w,3]
//   features  numbers [n,d], finite as float32
//   labels    whole numbers from 0, of any type, [n] or [n,1]
//   class_names  text [classes]; without it classes are named by number
// Both parts count the same classes: those of the training labels, or of class_names. Other arrays are left unread.
#include <string>
#include <variant>
#include <vector>

#include "nets/data/image_set.h"
#include "nets/data/npy.h"

namespace offramp::data {

// {"train", "test"}, one of them, or {"all"}. Throws DataError where there are no labels.
std::vector<std::string> npz_splits(const NpzArchive& file);
// `split`: one of npz_splits. Throws DataError.
std::variant<ImageSet, TableSet> read_npz_dataset(const NpzArchive& file, const std::string& split);

}  // namespace offramp::data
