#pragma once
// Sets that lie as one picture file per image: a list of files with labels (from plain class folders or the
// official layouts of GTSRB and Tiny ImageNet), decoded in parallel in a fixed order, with a cache of the
// result.
#include <filesystem>
#include <string>
#include <vector>

#include "nets/data/image_set.h"

namespace offramp::data {

struct ImageList {
  std::filesystem::path root;
  std::vector<std::filesystem::path> files;
  std::vector<std::int32_t> labels;
  std::vector<std::string> class_names;
};

// ROOT/CLASS/NAME.{jpg,jpeg,png,ppm,pgm}: classes and names in byte order. Hidden files are passed over; any
// other file, an empty class or no class is an error.
ImageList list_class_folders(const std::filesystem::path& root);
// The names of the classes alone, as list_class_folders numbers them.
std::vector<std::string> class_folder_names(const std::filesystem::path& root);
// GTSRB as published: Final_Training/Images/CCCCC/GT-CCCCC.csv, or Final_Test/Images with GT-final_test.csv
// (in ROOT, or in ROOT/Final_Test/Images). Fields Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId.
ImageList list_gtsrb(const std::filesystem::path& root, bool test);
// Tiny ImageNet as published: wnids.txt, train/WNID/images/*.JPEG; val/images with val/val_annotations.txt.
// Labels are positions in the sorted wnids (the order that class folders give); names come from words.txt
// where present.
ImageList list_tiny_imagenet(const std::filesystem::path& root, bool val);

struct DecodeOptions {
  int side = 0;     // 0: all pictures must have the size of the first; else resized to side x side
  int threads = 0;  // 0: one per core, at most 16
  std::filesystem::path cache_dir = {};  // empty: no cache
  std::string side_hint = {};            // ends the message about pictures of several sizes
};

// RGB images in list order (grey files are copied to three channels). Throws DataError that names the first
// bad file. With a cache folder the decoded set is stored in one file there and used again while every listed
// file keeps its path, size and modification time.
ImageSet decode_list(const ImageList& list, const DecodeOptions& options);

}  // namespace offramp::data
