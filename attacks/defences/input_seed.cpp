#include "attacks/defences/input_seed.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "attacks/defences/image_hash.h"
#include "base/errors.h"

namespace offramp::attacks {
namespace {

void ssl_check(bool done, const char* what) {
  if (!done) throw Error(std::string("OpenSSL: ") + what + " failed");
}

// OpenSSL's parameters want pointers that are not const; it does not write through them.
OSSL_PARAM octets(const char* key, std::string_view value) {
  return OSSL_PARAM_construct_octet_string(key, const_cast<char*>(value.data()), value.size());
}

}  // namespace

std::vector<std::uint8_t> hkdf_sha256(std::string_view key_material,
                                      std::string_view salt,
                                      std::string_view info,
                                      std::size_t length) {
  if (length < 1 || length > 255 * 32) {
    throw ValueError("HKDF: 1 to 8160 bytes can be derived, not " + std::to_string(length));
  }
  const std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr),
                                                              &EVP_KDF_free);
  ssl_check(kdf != nullptr, "EVP_KDF_fetch(HKDF)");
  const std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(EVP_KDF_CTX_new(kdf.get()),
                                                                          &EVP_KDF_CTX_free);
  ssl_check(context != nullptr, "EVP_KDF_CTX_new");
  char digest[] = "SHA256";
  OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                             octets(OSSL_KDF_PARAM_KEY, key_material),
                             octets(OSSL_KDF_PARAM_SALT, salt),
                             octets(OSSL_KDF_PARAM_INFO, info),
                             OSSL_PARAM_construct_end()};
  std::vector<std::uint8_t> derived(length);
  ssl_check(EVP_KDF_derive(context.get(), derived.data(), length, parameters) == 1, "EVP_KDF_derive");
  return derived;
}

std::string sha512_hex(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  ssl_check(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha512(), nullptr) == 1, "EVP_Digest");
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

InputSeedOptions published_seed_options() {
  return {.hash = InputHash::kAveragePublished,
          .secret = std::string(512, 'o'),
          .label = "asecretseed",
          .bytes = 1};
}

std::string input_hash(const Tensor& input, InputHash hash) {
  switch (hash) {
    case InputHash::kPerceptual:
      return hex_of(perceptual_hash(picture_of(input)));
    case InputHash::kAverage:
      return hex_of(average_hash(picture_of(input)));
    case InputHash::kAveragePublished:
      return hex_of(average_hash(picture_as_published(input)));
    case InputHash::kExact:
      break;
  }
  const std::vector<float> values = input.to_nchw();
  const bool binary = std::all_of(values.begin(), values.end(), [](float v) { return v == 0 || v == 1; });
  if (!binary) {
    return sha512_hex({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
  }
  std::string digits;
  for (const float v : values) digits += v == 1 ? '1' : '0';
  return sha512_hex(digits);
}

double input_uniform(std::string_view hash, const InputSeedOptions& options) {
  if (options.secret.empty()) throw ValueError("defence: the secret must not be empty");
  if (options.bytes < 1 || options.bytes > 8) {
    throw ValueError("defence: 1 to 8 bytes of a seed are used, not " + std::to_string(options.bytes));
  }
  const auto derived =
      hkdf_sha256(options.label, options.secret, hash, static_cast<std::size_t>(options.bytes));
  double value = 0.5;
  for (std::size_t i = derived.size(); i-- > 0;) value = (value + derived[i]) / 256;
  return std::clamp(value, 0x1p-64, 1 - 0x1p-53);
}

double input_uniform(const Tensor& input, const InputSeedOptions& options) {
  return input_uniform(input_hash(input, options.hash), options);
}

}  // namespace offramp::attacks
