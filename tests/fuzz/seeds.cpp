// fuzz_seeds CORPUS: writes the seeds of every target that our own writers can make. Small and valid, one per variant of a
// format; the fuzzer breaks them. What broke a reader is added to CORPUS by hand, under another name.
#include <zlib.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

// jpeglib.h needs size_t and FILE declared before.
#include <jpeglib.h>

#include "base/embedded_weights.h"
#include "nets/data/image_file.h"
#include "nets/data/npy.h"

namespace fs = std::filesystem;
using namespace offramp;
using Bytes = std::vector<std::uint8_t>;

namespace {

fs::path corpus;

void put(const std::string& name, const Bytes& bytes) {
  fs::create_directories((corpus / name).parent_path());
  std::ofstream(corpus / name, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}
void put(const std::string& name, const std::string& text) { put(name, Bytes(text.begin(), text.end())); }

Bytes deflated(const Bytes& plain, int window_bits) {
  Bytes out(plain.size() + 1024);
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
  stream.next_in = const_cast<Bytef*>(plain.data());
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}
Bytes gzip(const Bytes& plain) { return deflated(plain, 15 + 16); }

data::Picture picture(int h, int w, int c) {
  data::Picture p{.h = h, .w = w, .c = c};
  for (int i = 0; i < h * w * c; ++i) p.pixels.push_back(static_cast<std::uint8_t>(i * 37 % 251));
  return p;
}

// Ink complemented and with the mark of Adobe's programs, which libjpeg writes for four colours.
Bytes cmyk_jpeg(int side, const std::vector<std::uint8_t>& ink) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = info.image_height = static_cast<JDIMENSION>(side);
  info.input_components = 4;
  info.in_color_space = JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 95, TRUE);
  jpeg_start_compress(&info, TRUE);
  Bytes row;
  for (int x = 0; x < side; ++x) row.insert(row.end(), ink.begin(), ink.end());
  for (int y = 0; y < side; ++y) {
    JSAMPROW line = row.data();
    jpeg_write_scanlines(&info, &line, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  Bytes out(buffer, buffer + size);
  std::free(buffer);
  return out;
}

void append32(Bytes& out, std::uint32_t v) {
  for (int b = 0; b < 4; ++b) out.push_back(static_cast<std::uint8_t>(v >> (8 * b)));
}
void append(Bytes& out, const Bytes& more) { out.insert(out.end(), more.begin(), more.end()); }
void append_element(Bytes& out, std::uint32_t type, const Bytes& data) {
  append32(out, type);
  append32(out, static_cast<std::uint32_t>(data.size()));
  append(out, data);
  while (out.size() % 8 != 0) out.push_back(0);
}
// An array of a .mat file of version 5.
Bytes mat_array(const std::string& name,
                const std::vector<int>& shape,
                std::uint32_t kind,
                std::uint32_t stored,
                const Bytes& values) {
  Bytes inner, flags, sizes, out;
  append32(flags, kind);
  append32(flags, 0);
  for (const int size : shape) append32(sizes, static_cast<std::uint32_t>(size));
  append_element(inner, 6, flags);
  append_element(inner, 5, sizes);
  append_element(inner, 1, Bytes(name.begin(), name.end()));
  append_element(inner, stored, values);
  append_element(out, 14, inner);
  return out;
}
Bytes mat_file(const std::vector<Bytes>& elements) {
  Bytes out(128, ' ');
  const std::string text = "MATLAB 5.0 MAT-file";
  std::memcpy(out.data(), text.data(), text.size());
  const std::uint8_t version[4] = {0, 1, 'I', 'M'};
  std::memcpy(out.data() + 124, version, 4);
  for (const Bytes& element : elements) append(out, element);
  return out;
}
Bytes compressed(const Bytes& element) {
  const Bytes packed = deflated(element, 15);
  Bytes out;
  append32(out, 15);
  append32(out, static_cast<std::uint32_t>(packed.size()));
  append(out, packed);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  corpus = argv[1];

  const Bytes images = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3,  0,  0,
                        0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
              labels = {0, 0, 8, 1, 0, 0, 0, 2, 1, 0};
  put("idx/images", images);
  put("idx/labels", labels);
  put("idx/images.gz", gzip(images));
  Bytes two = gzip(images);
  append(two, gzip(labels));
  put("gzip/one.gz", gzip(images));
  put("gzip/two.gz", two);
  put("gzip/plain", labels);

  Bytes record(3073), fine(3074);
  for (std::size_t i = 0; i < record.size(); ++i) record[i] = fine[i + 1] = static_cast<std::uint8_t>(i % 9);
  put("cifar/ten", record);
  put("cifar/hundred", fine);

  Bytes elf(64 + 56 + 3);  // a header, one segment of 3 bytes, no sections
  const Bytes magic = {0x7f, 'E', 'L', 'F', 2, 1, 1};
  std::copy(magic.begin(), magic.end(), elf.begin());
  elf[32] = 64;  // where the program headers are, and how many
  elf[56] = 1;
  elf[64 + 8] = 64 + 56;  // where the segment is
  elf[64 + 32] = 3;       // how long it is
  put("embedded/none", elf);
  const auto weights = std::as_bytes(std::span("weights", 7));
  embedded::write_program_with_weights(
      corpus / "embedded/seven", "elf", std::as_bytes(std::span(elf)), weights);
  Bytes cut = elf;
  cut.resize(200, 'x');
  put("embedded/cut", cut);

  put("csv/plain", std::string("1,0,1\n2,0.5,-1e-3\n"));
  put("csv/excel", std::string("\xEF\xBB\xBF\"label\", \"a\", \"b\"\r\n\"1.0\", 0, 1\r\n\r\n2.0, 3, 4\r\n"));
  put("csv/last", std::string("x,y,class\n0.25,1,7\n1,0,3\n"));
  const std::string gtsrb = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n";
  put("gtsrb/one", gtsrb + "00000_00000.ppm;29;30;5;6;24;25;3\r\n\r\n");
  put("gtsrb/bom", "\xEF\xBB\xBF" + gtsrb + "00000.ppm;53;54;6;5;48;49;16\n");
  put("tiny_imagenet/all",
      std::string("n02\nn01\n") + '\0' + "n01\tgoldfish, Carassius auratus\nn02\tbullfrog\n" + '\0' +
          "val_0.JPEG\tn02\t0\t32\t44\t62\n\nval_1.JPEG\tn01\t0\t0\t1\t1\n");

  for (const int c : {1, 3}) {
    put("jpeg/c" + std::to_string(c), data::encode_jpeg(picture(17, 19, c), 60));
    put("png/c" + std::to_string(c), data::encode_png(picture(7, 5, c)));
  }
  put("jpeg/cmyk", cmyk_jpeg(8, {51, 102, 204, 255}));
  put("ppm/p6", std::string("P6 # by hand\n2 1\n255\nabcdef"));
  put("ppm/p5", std::string("P5\n2 2\n255\nabcd"));

  const data::NpyArray floats{{2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6.25f}},
      wide{{3}, std::vector<std::int64_t>{0, 1, 2}}, pixels{{2, 2, 3}, std::vector<std::uint8_t>(12, 7)},
      classes{{2, 1}, std::vector<double>{0, 1}};
  put("npy/f4", data::encode_npy(floats));
  put("npy/i8", data::encode_npy(wide));
  const auto header = [](std::string descr, const Bytes& values) {
    std::string text = "{'descr': '" + descr + "', 'fortran_order': True, 'shape': (2, 2), }";
    text.append(63 - (10 + text.size()) % 64, ' ');
    text += '\n';
    Bytes out = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, static_cast<std::uint8_t>(text.size()), 0};
    out.insert(out.end(), text.begin(), text.end());
    append(out, values);
    return out;
  };
  put("npy/u1_fortran", header("|u1", {1, 2, 3, 4}));
  put("npy/i2_big", header(">i2", {0, 1, 0, 2, 0, 3, 0, 4}));
  put("npy/f2", header("<f2", {0, 60, 0, 64, 0, 66, 0, 68}));
  put("npy/text", header("<U1", {'a', 0, 0, 0, 'b', 0, 0, 0, 'c', 0, 0, 0, 0x42, 0x30, 0, 0}));
  put("npz/images", data::encode_npz({{"images", pixels}, {"labels", classes}}, true));
  put("npz/parts",
      data::encode_npz({{"train_features", floats},
                        {"train_labels", classes},
                        {"val_features", floats},
                        {"val_labels", classes}},
                       false));

  Bytes digits(4 * 4 * 3 * 2);
  for (std::size_t i = 0; i < digits.size(); ++i) digits[i] = static_cast<std::uint8_t>(i);
  const Bytes x = mat_array("X", {4, 4, 3, 2}, 9, 2, digits), y = mat_array("y", {2, 1}, 9, 2, {10, 3}),
              y64 = mat_array("y", {2, 1}, 14, 12, {10, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0});
  put("svhn/plain", mat_file({x, y}));
  put("svhn/compressed", mat_file({compressed(x), compressed(y64)}));
  return 0;
}
