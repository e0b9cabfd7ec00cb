#pragma once
// The pictures of docs/guide that no verb draws. Each function computes what it shows and returns an SVG
// file.
#include <filesystem>
#include <string>

namespace offramp::guide {

std::string batch_norm_figure();
std::string tape_figure();
std::string winograd_figure();
// From what `offramp eval RUN --data SET --log json` printed.
std::string early_exit_figure(const std::filesystem::path& answer);

}  // namespace offramp::guide
