#include "base/embedded_weights.h"

#include "base/atomic_file.h"
#include "base/errors.h"
#include "base/sha256.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <system_error>
#include <type_traits>

namespace offramp::embedded {
namespace {

constexpr std::uint64_t kAlignment = 64;
constexpr std::array<char, 16> kMagic{
    'o', 'f', 'f', 'r', 'a', 'm', 'p', '-', 'w', 'e', 'i', 'g', 'h', 't', 's', '1'};

struct Footer {
  Sha256Digest digest{};
  std::uint64_t length = 0, zero = 0;
  std::array<char, 16> magic = kMagic;
};
static_assert(sizeof(Footer) == 64 && std::is_trivially_copyable_v<Footer>);

std::uint64_t aligned(std::uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

class Elf {
 public:
  Elf(const std::filesystem::path& path, std::span<const std::byte> file) : path_(path), file_(file) {
    if (!is_program(file)) throw FileError(path.string(), 0, "program: expected an ELF file, this is none");
    header_ = at<Elf64_Ehdr>(0, "header");
    if (header_.e_ident[EI_CLASS] != ELFCLASS64 || header_.e_ident[EI_DATA] != ELFDATA2LSB) {
      throw FileError(
          path.string(), EI_CLASS, "program: expected a 64-bit little-endian ELF file, this is another");
    }
  }

  // The last byte that a header names, and one.
  std::uint64_t end() const {
    std::uint64_t end = sizeof header_;
    const auto reach = [&](std::uint64_t offset, std::uint64_t bytes, const char* what) {
      if (offset > file_.size() || bytes > file_.size() - offset) cut_off(offset, what);
      end = std::max(end, offset + bytes);
    };
    reach(header_.e_phoff, std::uint64_t{header_.e_phnum} * sizeof(Elf64_Phdr), "program headers");
    for (std::uint64_t i = 0; i < header_.e_phnum; ++i) {
      const auto segment = at<Elf64_Phdr>(header_.e_phoff + i * sizeof(Elf64_Phdr), "program headers");
      reach(segment.p_offset, segment.p_filesz, "segment");
    }
    reach(header_.e_shoff, std::uint64_t{header_.e_shnum} * sizeof(Elf64_Shdr), "section headers");
    for (std::uint64_t i = 0; i < header_.e_shnum; ++i) {
      const auto section = at<Elf64_Shdr>(header_.e_shoff + i * sizeof(Elf64_Shdr), "section headers");
      if (section.sh_type != SHT_NOBITS) reach(section.sh_offset, section.sh_size, "section");
    }
    return end;
  }

 private:
  template <class T>
  T at(std::uint64_t offset, const char* what) const {
    if (offset > file_.size() || sizeof(T) > file_.size() - offset) cut_off(offset, what);
    T value;
    std::memcpy(&value, file_.data() + offset, sizeof value);
    return value;
  }
  [[noreturn]] void cut_off(std::uint64_t offset, const char* what) const {
    throw FileError(path_.string(),
                    offset,
                    std::string("program: its ") + what + " reach beyond the file's " +
                        std::to_string(file_.size()) + " bytes");
  }

  const std::filesystem::path& path_;
  std::span<const std::byte> file_;
  Elf64_Ehdr header_{};
};

}  // namespace

bool is_program(std::span<const std::byte> file) {
  return file.size() >= SELFMAG && std::memcmp(file.data(), ELFMAG, SELFMAG) == 0;
}

std::uint64_t program_bytes(const std::filesystem::path& path, std::span<const std::byte> file) {
  return Elf(path, file).end();
}

std::span<const std::byte> weights_of(const std::filesystem::path& path, std::span<const std::byte> file) {
  const std::uint64_t program = program_bytes(path, file);
  if (program == file.size()) return {};
  const std::string again = "; make the file again with offramp embed";
  Footer footer;
  const std::uint64_t begin = aligned(program);
  if (file.size() >= begin + sizeof footer)
    std::memcpy(&footer, file.data() + file.size() - sizeof footer, sizeof footer);
  if (file.size() < begin + sizeof footer || footer.magic != kMagic || footer.zero != 0) {
    throw FileError(
        path.string(),
        program,
        std::to_string(file.size() - program) +
            " bytes behind the program do not end as embedded weights do: the file was cut or damaged" +
            again);
  }
  const std::uint64_t there = file.size() - begin - sizeof footer;
  if (footer.length != there) {
    throw FileError(path.string(),
                    begin,
                    "embedded weights: expected " + std::to_string(footer.length) + " bytes, got " +
                        std::to_string(there) + again);
  }
  const std::span<const std::byte> weights = file.subspan(begin, there);
  if (sha256(weights) != footer.digest) {
    throw FileError(
        path.string(), begin, "embedded weights: their SHA-256 digest is another: they were damaged" + again);
  }
  return weights;
}

void write_program_with_weights(const std::filesystem::path& to,
                                const std::filesystem::path& path,
                                std::span<const std::byte> file,
                                std::span<const std::byte> weights) {
  if (weights.empty()) throw ValueError("embed: expected weights, got none");
  const std::span<const std::byte> program = file.first(program_bytes(path, file));
  const std::uint64_t begin = aligned(program.size());
  const Footer footer{.digest = sha256(weights), .length = weights.size()};
  AtomicFile out(to, begin + weights.size() + sizeof footer);
  out.make_executable();
  out.write(program);
  out.write(std::vector<std::byte>(begin - program.size()));
  out.write(weights);
  out.write(std::as_bytes(std::span(&footer, 1)));
  out.commit();
}

std::filesystem::path this_program() {
  std::error_code error;
  const std::filesystem::path link = "/proc/self/exe", named = std::filesystem::read_symlink(link, error);
  if (error) throw FileError(link.string(), "this program: " + error.message());
  return std::filesystem::exists(named, error) ? named : link;  // the link reads a file whose name is gone
}

}  // namespace offramp::embedded
