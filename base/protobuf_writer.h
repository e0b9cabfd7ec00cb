#pragma once
// Messages in the wire format of protocol buffers (https://protobuf.dev/programming-guides/encoding), written field by
// field in the order of the calls: what a reader of a .proto file takes, without its compiler. Large fields are moved in
// and never copied again.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace offramp {

class ProtobufMessage {
 public:
  ProtobufMessage& add_int(int field, std::int64_t value);  // int32, int64, bool, enum
  ProtobufMessage& add_float(int field, float value);
  ProtobufMessage& add_double(int field, double value);
  ProtobufMessage& add_text(int field, std::string_view text);  // string, UTF-8
  ProtobufMessage& add_bytes(int field, std::string bytes);     // bytes
  ProtobufMessage& add_message(int field, ProtobufMessage message);

  std::uint64_t size() const { return size_; }
  // The message is these, one behind the other.
  const std::vector<std::string>& pieces() const { return pieces_; }
  std::string bytes() const;

 private:
  void varint(std::uint64_t value);
  void tag(int field, unsigned wire_type);
  void append(std::string_view bytes);
  void append_piece(std::string piece);

  std::vector<std::string> pieces_;
  std::uint64_t size_ = 0;
};

}  // namespace offramp
