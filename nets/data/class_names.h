#pragma once
// Labels mean the classes of the training set: the positions of names in one list. A reader numbers the classes of what it
// reads (a test folder, another file), so that the same number may mean another class there; names say which.
#include <cstdint>
#include <string>
#include <vector>

namespace offramp::data {

// Renumbers `labels`, positions in `names`, to positions in `trained`, and makes `names` the same as `trained`. Classes
// that are missing in `names` are fine; a name that `trained` lacks throws DataError. Names that are only the numbers
// 0..C-1 (an .npz without class_names) say nothing but the position: they are taken as such where they fit. `what` opens the message.
void match_classes(const std::vector<std::string>& trained,
                   std::vector<std::string>& names,
                   std::vector<std::int32_t>& labels,
                   const std::string& what);

// As one text for a checkpoint's metadata, and back: a name a line; backslash, control bytes and, in a name that is
// no UTF-8, bytes from 0x80 on as \xNN. Throws DataError for a text that was not written so.
std::string encode_class_names(const std::vector<std::string>& names);
std::vector<std::string> decode_class_names(const std::string& text);

}  // namespace offramp::data
