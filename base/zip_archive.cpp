#include "base/zip_archive.h"

#include "base/errors.h"

#include <utility>

#ifdef OFFRAMP_HAVE_ZIP
#include <zip.h>
#endif

namespace offramp {

#ifdef OFFRAMP_HAVE_ZIP

namespace {

std::string text_of(zip_error_t* error) {
  std::string text = zip_error_strerror(error);
  zip_error_fini(error);
  return text;
}

}  // namespace

struct ZipArchive::Handle {
  zip_t* archive = nullptr;
  explicit Handle(zip_t* opened) : archive(opened) {}
  ~Handle() { zip_discard(archive); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  zip_stat_t stat(const std::string& path, const std::string& name) const {
    zip_stat_t info;
    zip_stat_init(&info);
    if (zip_stat(archive, name.c_str(), 0, &info) != 0) {
      throw FileError(path, "zip: no member " + in_quotes(name));
    }
    return info;
  }
};

ZipArchive::ZipArchive(std::string path, std::span<const std::byte> bytes)
    : path_(std::move(path)), bytes_(bytes.size()) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* const source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error);
  if (source == nullptr) throw FileError(path_, "zip: " + text_of(&error));
  zip_t* const archive = zip_open_from_source(source, ZIP_RDONLY, &error);
  if (archive == nullptr) {
    zip_source_free(source);
    throw FileError(path_, "zip: " + text_of(&error) + " (a truncated download?)");
  }
  zip_error_fini(&error);
  handle_ = std::make_unique<Handle>(archive);
  const zip_int64_t count = zip_get_num_entries(archive, 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* const name = zip_get_name(archive, static_cast<zip_uint64_t>(i), 0);
    if (name != nullptr) names_.emplace_back(name);
  }
}

bool ZipArchive::available() { return true; }

bool ZipArchive::contains(const std::string& name) const {
  return zip_name_locate(handle_->archive, name.c_str(), 0) >= 0;
}

std::uint64_t ZipArchive::size(const std::string& name) const {
  const zip_stat_t info = handle_->stat(path_, name);
  return (info.valid & ZIP_STAT_SIZE) != 0 ? info.size : 0;
}

std::vector<std::byte> ZipArchive::read(const std::string& name) const {
  const std::string member = "zip member " + in_quotes(name) + ": ";
  const zip_stat_t info = handle_->stat(path_, name);
  constexpr zip_uint64_t kWanted = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
  if ((info.valid & kWanted) != kWanted) throw FileError(path_, member + "its size is not given");
  if ((info.valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 && info.encryption_method != ZIP_EM_NONE) {
    throw FileError(path_, member + "encrypted");
  }
  if (info.comp_method != ZIP_CM_STORE || info.comp_size != info.size) {
    throw FileError(path_, member + "compressed; torch.save stores members as they are (zip -0)");
  }
  if (info.size > bytes_) {
    throw FileError(path_,
                    member + std::to_string(info.size) + " bytes by the directory, the archive has " +
                        std::to_string(bytes_));
  }
  zip_file_t* const file = zip_fopen_index(handle_->archive, info.index, 0);
  if (file == nullptr) throw FileError(path_, member + zip_strerror(handle_->archive));
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> closer(file, zip_fclose);
  std::vector<std::byte> bytes(static_cast<std::size_t>(info.size));
  std::size_t at = 0;
  std::byte beyond{};  // reading past the end makes libzip compare the checksum
  while (true) {
    const bool full = at == bytes.size();
    const zip_int64_t got = zip_fread(file, full ? &beyond : bytes.data() + at, full ? 1 : bytes.size() - at);
    if (got < 0) throw FileError(path_, member + text_of(zip_file_get_error(file)));
    if (got == 0) break;
    if (full) throw FileError(path_, member + "longer than the directory says");
    at += static_cast<std::size_t>(got);
  }
  if (at != bytes.size()) {
    throw FileError(path_,
                    member + std::to_string(bytes.size()) + " bytes wanted, got " + std::to_string(at));
  }
  return bytes;
}

#else

struct ZipArchive::Handle {};

ZipArchive::ZipArchive(std::string path, std::span<const std::byte>) : path_(std::move(path)) {
  throw FileError(path_,
                  "a PyTorch file (.pth): this program was built without libzip, which reads them; convert "
                  "it to safetensors where torch is (docs/reference/pytorch.md)");
}
bool ZipArchive::available() { return false; }
bool ZipArchive::contains(const std::string&) const { return false; }
std::uint64_t ZipArchive::size(const std::string&) const { return 0; }
std::vector<std::byte> ZipArchive::read(const std::string&) const { return {}; }

#endif

ZipArchive::~ZipArchive() = default;
ZipArchive::ZipArchive(ZipArchive&&) noexcept = default;
ZipArchive& ZipArchive::operator=(ZipArchive&&) noexcept = default;

}  // namespace offramp
