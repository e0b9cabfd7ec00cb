#include "base/protobuf_writer.h"

#include <bit>
#include <iterator>
#include <utility>

namespace offramp {
namespace {

constexpr unsigned kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5;
constexpr std::size_t kOwnPiece = 4096;  // what is longer is moved, not appended

}  // namespace

void ProtobufMessage::append(std::string_view bytes) {
  if (pieces_.empty() || pieces_.back().size() >= kOwnPiece) pieces_.emplace_back();
  pieces_.back().append(bytes);
  size_ += bytes.size();
}

void ProtobufMessage::append_piece(std::string piece) {
  if (piece.size() < kOwnPiece) return append(piece);
  size_ += piece.size();
  pieces_.push_back(std::move(piece));
}

void ProtobufMessage::varint(std::uint64_t value) {
  char bytes[10];
  std::size_t count = 0;
  for (; value >= 0x80; value >>= 7) bytes[count++] = static_cast<char>((value & 0x7f) | 0x80);
  bytes[count++] = static_cast<char>(value);
  append({bytes, count});
}

void ProtobufMessage::tag(int field, unsigned wire_type) {
  varint(static_cast<std::uint64_t>(field) << 3 | wire_type);
}

ProtobufMessage& ProtobufMessage::add_int(int field, std::int64_t value) {
  tag(field, kVarint);
  varint(static_cast<std::uint64_t>(value));
  return *this;
}

ProtobufMessage& ProtobufMessage::add_float(int field, float value) {
  static_assert(std::endian::native == std::endian::little);
  tag(field, kFixed32);
  append({reinterpret_cast<const char*>(&value), sizeof value});
  return *this;
}

ProtobufMessage& ProtobufMessage::add_double(int field, double value) {
  tag(field, kFixed64);
  append({reinterpret_cast<const char*>(&value), sizeof value});
  return *this;
}

ProtobufMessage& ProtobufMessage::add_text(int field, std::string_view text) {
  tag(field, kLength);
  varint(text.size());
  append(text);
  return *this;
}

ProtobufMessage& ProtobufMessage::add_bytes(int field, std::string bytes) {
  tag(field, kLength);
  varint(bytes.size());
  append_piece(std::move(bytes));
  return *this;
}

ProtobufMessage& ProtobufMessage::add_message(int field, ProtobufMessage message) {
  tag(field, kLength);
  varint(message.size());
  for (std::string& piece : message.pieces_) append_piece(std::move(piece));
  return *this;
}

std::string ProtobufMessage::bytes() const {
  std::string all;
  all.reserve(size_);
  for (const std::string& piece : pieces_) all += piece;
  return all;
}

}  // namespace offramp
