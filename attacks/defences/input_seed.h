// A random number that belongs to an input: the same whenever the input is asked again, unknown without the secret
// (specs/membership.md 7). Hashes and key derivation are OpenSSL's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor.h"

namespace offramp::attacks {

// HKDF with SHA-256 (RFC 5869): `length` bytes, 1 to 8,160. ValueError: another length.
std::vector<std::uint8_t> hkdf_sha256(std::string_view key_material,
                                      std::string_view salt,
                                      std::string_view info,
                                      std::size_t length);
// SHA-512, 128 hexadecimal digits.
std::string sha512_hex(std::string_view bytes);

// How an input is told from others.
enum class InputHash {
  kPerceptual,        // pHash of the picture
  kAverage,           // aHash of the picture
  kAveragePublished,  // aHash of the picture that the published code makes of it
  kExact,  // SHA-512 of all numbers: for tables, and for pictures where near-duplicates must differ
};

struct InputSeedOptions {
  InputHash hash = InputHash::kPerceptual;  // kExact where the input is no picture
  std::string secret = {};                  // salt of the key derivation; must not be empty
  std::string label = "offramp timing";     // key material: a fixed text
  int bytes = 8;                            // 1 to 8; the published code keeps 1: only 256 different draws
};

// The settings of the published code: aHash of its picture, secret of 512 letters o, one byte.
InputSeedOptions published_seed_options();

// The text that stands for one input [1,c,h,w] or [1,features]: 16 hexadecimal digits, or 128 with kExact. For 0/1
// tables kExact hashes the digits "0" and "1" as the published code does, else the bytes of the floats.
std::string input_hash(const Tensor& input, InputHash hash);

// Uniform on (0, 1): (u + 1/2) / 2^(8 bytes), u the derived bytes, first byte highest. ValueError: an empty secret.
double input_uniform(const Tensor& input, const InputSeedOptions& options);
double input_uniform(std::string_view hash, const InputSeedOptions& options);

}  // namespace offramp::attacks
