#pragma once
// The three tables that membership inference is measured on, in the form in which they are published (the archives of
// privacytrustlab/datasets, unpacked), and no other: the right width, every feature 0 or 1, classes from 1.
//   locations  "bangkok": one row a line, "class" in quotes, 446 features; 30 classes, 5,010 rows
//   purchases  "dataset_purchase": one row a line, class, 600 features; 100 classes, 197,324 rows
//   texas      a folder texas/100/ with "feats" (6,169 features a line) and "labels" (a class a line); 100 classes, 67,330
//              rows. Readers that drop the first column find the 6,168 of specs/networks.md 2.6.
// Any number of rows is taken: half a table is a table.
#include <filesystem>

#include "nets/data/image_set.h"

namespace offramp::data {

// `path`: the file, or a folder that holds it. Throws DataError with the line.
TableSet read_locations(const std::filesystem::path& path);
TableSet read_purchases(const std::filesystem::path& path);
// `path`: the folder with feats and labels, or one above it.
TableSet read_texas(const std::filesystem::path& path);

}  // namespace offramp::data
