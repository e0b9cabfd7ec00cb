// A program with weights behind it: one file that the system runs and that carries a checkpoint.
//
//   program           an ELF file (64 bits, little-endian), which ends where its own headers say
//   zeros             up to a multiple of 64 bytes
//   weights           the bytes of a checkpoint (base/safetensors.h)
//   footer            64 bytes: SHA-256 of the weights (32), their length (8), zeros (8), "offramp-weights1" (16)
//
// The loader of the system reads what the headers name and never looks behind it. Because the end of the program is known
// without the footer, a footer that is damaged or cut off is noticed and not taken for a program without weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace offramp::embedded {

// Whether the bytes begin as an ELF file does.
bool is_program(std::span<const std::byte> file);

// Bytes of the program alone. Throws FileError where it is no 64-bit little-endian ELF file, or its headers name bytes
// that the file does not have. `path` is for messages.
std::uint64_t program_bytes(const std::filesystem::path& path, std::span<const std::byte> file);

// The weights behind the program; empty where there is nothing behind it. Throws FileError where what is there is not
// weights as they were written: a footer that is missing or damaged, another length, another digest.
std::span<const std::byte> weights_of(const std::filesystem::path& path, std::span<const std::byte> file);

// Writes the program of `file`, without the weights that it may carry, with `weights` behind it: atomically, mode 0755.
// Throws FileError as program_bytes does, or where writing fails; ValueError for no weights.
void write_program_with_weights(const std::filesystem::path& to,
                                const std::filesystem::path& path,
                                std::span<const std::byte> file,
                                std::span<const std::byte> weights);

// The file that this process runs, for reading and for messages. Throws FileError where the system does not say.
std::filesystem::path this_program();

}  // namespace offramp::embedded
