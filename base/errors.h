// The exceptions of every room. Messages read `what: what was expected, what came, where` and are tested;
// only tools/ catches them to print and exit.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace offramp {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Two shapes, or a shape and an operation, do not fit.
class ShapeError : public Error {
 public:
  using Error::Error;
};

// An argument, option or setting outside its domain.
class ValueError : public Error {
 public:
  using Error::Error;
};

// A device that is missing, not built in, or reported a failure.
class DeviceError : public Error {
 public:
  using Error::Error;
};

// A result that must be finite is not (loss, gradient, statistic).
class NumericError : public Error {
 public:
  using Error::Error;
};

class OutOfMemoryError : public Error {
 public:
  using Error::Error;
};

// Data that cannot be taken: samples outside what a statistic is defined for, or a file of a data set, with
// the reader and the byte or line where reading stopped (nets/data/data_error.h).
class DataError : public Error {
 public:
  using Error::Error;
};

// A file that cannot be read, written or understood. `offset` is the byte where it goes wrong, if there is
// one.
class FileError : public Error {
 public:
  FileError(std::string path, std::string_view detail) : FileError(std::move(path), std::nullopt, detail) {}
  FileError(std::string path, std::optional<std::uint64_t> offset, std::string_view detail)
      : Error(message(path, offset, detail)), path_(std::move(path)), offset_(offset) {}

  const std::string& path() const noexcept { return path_; }
  std::optional<std::uint64_t> offset() const noexcept { return offset_; }

 private:
  static std::string message(const std::string& path,
                             std::optional<std::uint64_t> offset,
                             std::string_view detail) {
    std::string text = path + ": " + std::string(detail);
    if (offset) text += ", at byte " + std::to_string(*offset);
    return text;
  }

  std::string path_;
  std::optional<std::uint64_t> offset_;
};

// "[128,3,32,32]"; a scalar's shape is "[]". For any range of integers.
template <class Range>
std::string format_shape(const Range& shape) {
  std::string text = "[";
  for (const auto extent : shape) {
    if (text.size() > 1) text += ',';
    text += std::to_string(extent);
  }
  return text + "]";
}
inline std::string format_shape(std::initializer_list<std::int64_t> shape) {
  return format_shape<std::initializer_list<std::int64_t>>(shape);
}

// Text from outside (a file, a command line) for a message: in single quotes, control bytes and what is no
// UTF-8 as \xNN so that it cannot drive a terminal, cut after 80 bytes. Defined in utf8.cpp.
std::string in_quotes(std::string_view text);

// As one word of a shell, in quotes where it needs them: 'pets?side=32'. Defined in utf8.cpp.
std::string shell_quoted(const std::string& word);

}  // namespace offramp
