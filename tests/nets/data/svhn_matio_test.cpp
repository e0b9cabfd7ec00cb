// Our reader of .mat files on those that libmatio writes.
#include "nets/data/svhn.h"

#include <matio.h>

#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

void write_mat(const std::filesystem::path& path,
               std::vector<std::uint8_t> y,
               bool with_x,
               std::size_t channels = 3) {
  mat_t* file = Mat_CreateVer(path.string().c_str(), nullptr, MAT_FT_MAT5);
  ASSERT_NE(file, nullptr);
  if (with_x) {
    std::size_t dims[4] = {4, 5, channels, 2};  // rows, columns, channels, images
    std::vector<std::uint8_t> x(4 * 5 * channels * 2);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::uint8_t>(i);
    matvar_t* var = Mat_VarCreate("X", MAT_C_UINT8, MAT_T_UINT8, 4, dims, x.data(), 0);
    Mat_VarWrite(file, var, MAT_COMPRESSION_ZLIB);
    Mat_VarFree(var);
  }
  std::size_t dims[2] = {y.size(), 1};
  matvar_t* var = Mat_VarCreate("y", MAT_C_UINT8, MAT_T_UINT8, 2, dims, y.data(), 0);
  Mat_VarWrite(file, var, MAT_COMPRESSION_ZLIB);
  Mat_VarFree(var);
  Mat_Close(file);
}

TEST(SvhnMatio, ColumnMajorArraysBecomeNhwcAndTenIsZero) {
  const TempFolder folder;
  write_mat(folder / "t.mat", {10, 3}, true);
  const ImageSet set = read_svhn(folder / "t.mat");
  ASSERT_EQ(set.n, 2);
  EXPECT_EQ(set.h, 4);
  EXPECT_EQ(set.w, 5);
  EXPECT_EQ(set.labels, (std::vector<std::int32_t>{0, 3}));
  const int row = 2, col = 3, ch = 1, image = 1;
  EXPECT_EQ(set.image(image)[(row * 5 + col) * 3 + ch], row + 4 * col + 20 * ch + 60 * image);
}

TEST(SvhnMatio, LabelsOfEveryNumberTypeAreTaken) {
  const TempFolder folder;
  const auto with = [&]<class T>(T, matio_classes kind, matio_types type) {
    mat_t* file = Mat_CreateVer((folder / "t.mat").string().c_str(), nullptr, MAT_FT_MAT5);
    std::size_t dims[4] = {1, 1, 3, 2}, label_dims[2] = {2, 1};
    std::uint8_t x[6] = {1, 2, 3, 4, 5, 6};
    T y[2] = {T(10), T(3)};
    for (matvar_t* var : {Mat_VarCreate("X", MAT_C_UINT8, MAT_T_UINT8, 4, dims, x, 0),
                          Mat_VarCreate("y", kind, type, 2, label_dims, y, 0)}) {
      Mat_VarWrite(file, var, MAT_COMPRESSION_NONE);
      Mat_VarFree(var);
    }
    Mat_Close(file);
    return read_svhn(folder / "t.mat").labels;
  };
  const std::vector<std::int32_t> want = {0, 3};
  EXPECT_EQ(with(std::int64_t{}, MAT_C_INT64, MAT_T_INT64), want);
  EXPECT_EQ(with(std::int32_t{}, MAT_C_INT32, MAT_T_INT32), want);
  EXPECT_EQ(with(std::uint16_t{}, MAT_C_UINT16, MAT_T_UINT16), want);
  EXPECT_EQ(with(float{}, MAT_C_SINGLE, MAT_T_SINGLE), want);
  EXPECT_EQ(with(double{}, MAT_C_DOUBLE, MAT_T_DOUBLE), want);
}

TEST(SvhnMatio, WrongFilesAreRefused) {
  const TempFolder folder;
  write_mat(folder / "nox.mat", {1, 2}, false);
  EXPECT_MESSAGE(read_svhn(folder / "nox.mat"), "expected an array X");
  write_mat(folder / "few.mat", {1}, true);
  EXPECT_MESSAGE(read_svhn(folder / "few.mat"), "expected 2 labels in y, found 1");
  write_mat(folder / "eleven.mat", {1, 11}, true);
  EXPECT_MESSAGE(read_svhn(folder / "eleven.mat"), "expected labels 1..10, y[1] is 11");
  write_mat(folder / "four.mat", {1, 2}, true, 4);
  EXPECT_MESSAGE(read_svhn(folder / "four.mat"), "expected X as uint8 [h,w,3,n]");
}

}  // namespace
}  // namespace offramp::data
