#include "nets/data/svhn.h"

#include <matio.h>

#include <memory>

#include "nets/data/data_error.h"

namespace offramp::data {
namespace {

struct CloseFile {
  void operator()(mat_t* file) const { Mat_Close(file); }
};
struct FreeArray {
  void operator()(matvar_t* array) const { Mat_VarFree(array); }
};
using Array = std::unique_ptr<matvar_t, FreeArray>;

Array read_array(mat_t* file, const char* name, const std::filesystem::path& path) {
  Array array(Mat_VarRead(file, name));
  if (!array || array->data == nullptr)
    fail_in_file(
        "svhn", std::string("expected an array ") + name + ", found none or the file is damaged", path);
  return array;
}

double element(const matvar_t& array, std::size_t i) {
  switch (array.class_type) {
    case MAT_C_DOUBLE:
      return static_cast<const double*>(array.data)[i];
    case MAT_C_UINT8:
      return static_cast<const std::uint8_t*>(array.data)[i];
    default:
      return -1;
  }
}

}  // namespace

ImageSet read_svhn(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    fail_in_file("svhn", "expected a file, found nothing", path);
  Mat_LogInitFunc("offramp", [](int, char*) {});  // messages come as exceptions, not on stderr
  const std::unique_ptr<mat_t, CloseFile> file(Mat_Open(path.string().c_str(), MAT_ACC_RDONLY));
  if (!file) fail_at_byte("svhn", "expected a MATLAB file, found another header", path, 0);
  const Array x = read_array(file.get(), "X", path), y = read_array(file.get(), "y", path);
  if (x->class_type != MAT_C_UINT8 || x->rank != 4 || x->dims[2] != 3 || x->dims[3] > 0x7fffffff ||
      x->dims[0] < 1 || x->dims[1] < 1 || x->dims[0] > 4096 || x->dims[1] > 4096)
    fail_in_file("svhn", "expected X as uint8 [h,w,3,n], found another type or shape", path);
  ImageSet set{.n = static_cast<int>(x->dims[3]),
               .h = static_cast<int>(x->dims[0]),
               .w = static_cast<int>(x->dims[1]),
               .c = 3};
  std::size_t labels = 1;
  for (int d = 0; d < y->rank; ++d) labels *= y->dims[d];
  if (labels != x->dims[3] || (y->class_type != MAT_C_DOUBLE && y->class_type != MAT_C_UINT8))
    fail_in_file(
        "svhn", "expected " + std::to_string(set.n) + " labels in y, found " + std::to_string(labels), path);

  // MATLAB counts the first index fastest: X[row, column, channel, image].
  const auto* in = static_cast<const std::uint8_t*>(x->data);
  const std::size_t h = x->dims[0], w = x->dims[1];
  set.pixels.resize(static_cast<std::size_t>(set.n) * set.image_bytes());
  for (int i = 0; i < set.n; ++i) {
    std::uint8_t* out = set.image(i).data();
    for (std::size_t ch = 0; ch < 3; ++ch)
      for (std::size_t col = 0; col < w; ++col)
        for (std::size_t row = 0; row < h; ++row) out[(row * w + col) * 3 + ch] = *in++;
    const double label = element(*y, static_cast<std::size_t>(i));
    if (!(label >= 1 && label <= 10) || label != static_cast<int>(label))
      fail_in_file(
          "svhn", "expected labels 1..10, y[" + std::to_string(i) + "] is " + std::to_string(label), path);
    set.labels.push_back(static_cast<std::int32_t>(label) % 10);
  }
  for (int k = 0; k < 10; ++k) set.class_names.push_back(std::to_string(k));
  set.source = path.string();
  return set;
}

}  // namespace offramp::data
