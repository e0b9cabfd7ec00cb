#pragma once
// FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/. For fingerprints and keys of caches; not against an enemy.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace offramp {

class Fnv1a {
 public:
  Fnv1a& add(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < size; ++i) value_ = (value_ ^ bytes[i]) * 0x100000001b3u;
    return *this;
  }
  Fnv1a& add(std::string_view text) { return add(text.data(), text.size()); }
  // The bytes of numbers as they lie in memory.
  template <class T, std::size_t N>
  requires std::is_arithmetic_v<T> Fnv1a& add(std::span<T, N> values) {
    return add(values.data(), values.size_bytes());
  }
  template <class T>
  requires std::is_arithmetic_v<T> Fnv1a& add(T value) { return add(&value, sizeof value); }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325u;
};

}  // namespace offramp
