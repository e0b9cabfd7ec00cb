#pragma once
// The binary version of CIFAR-10 and CIFAR-100: records of 1 (CIFAR-100: 2, coarse then fine) label bytes and
// 3072 pixel bytes, planes R, G, B of 32x32. Output is NHWC. https://www.cs.toronto.edu/~kriz/cifar.html
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "nets/data/image_set.h"

namespace offramp::data {

enum class CifarKind { kCifar10, kCifar100 };

// Appends the records of one file to `set`, 32x32x3 pictures whose class_names are filled; `name` is for messages.
// Throws DataError and leaves `set` with what came before the fault.
void add_cifar_records(std::span<const std::uint8_t> bytes,
                       CifarKind kind,
                       const std::filesystem::path& name,
                       ImageSet& set);
// Reads the given files, plain or gzip, in order. Throws DataError (length no multiple of a record, label out of range).
ImageSet read_cifar_binary(const std::vector<std::filesystem::path>& files,
                           CifarKind kind,
                           std::vector<std::string> class_names);

}  // namespace offramp::data
