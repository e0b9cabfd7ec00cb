#pragma once
// A net's forward pass in double, from its architecture and the values of its state dict, layer by layer from the
// formulas: what graphs are compared with. No dropout, no exit pools.
#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "nets/graph/network.h"

namespace offramp::test {

// [n,c,h,w], row-major.
struct RefMap {
  int n = 0, c = 0, h = 1, w = 1;
  std::vector<double> v;
  RefMap(int n_, int c_, int h_, int w_)
      : n(n_),
        c(c_),
        h(h_),
        w(w_),
        v(static_cast<std::size_t>(n_) * static_cast<std::size_t>(c_ * h_ * w_)) {}
  explicit RefMap(const Tensor& t) : RefMap(t.shape().n(), t.shape().c(), t.shape().h(), t.shape().w()) {
    const std::vector<float> values = t.shape().rank() == 4 ? t.to_nchw() : t.to_host<float>();
    v.assign(values.begin(), values.end());
  }
  double& at(int i, int k, int y, int x) {
    return v[static_cast<std::size_t>(((i * c + k) * h + y) * w + x)];
  }
  double at(int i, int k, int y, int x) const {
    return v[static_cast<std::size_t>(((i * c + k) * h + y) * w + x)];
  }
};

class RefNet {
 public:
  // Values in PyTorch's order, by name.
  std::map<std::string, std::vector<double>> values;
  bool train = false;  // batch norms use the statistics of the batch

  explicit RefNet(const nets::Network& net) : arch_(net.architecture()) {
    for (const ParameterSet::Entry& entry : net.parameters().entries()) {
      const auto disk = to_disk_order(entry.info, entry.value.shape(), entry.value.to_host<float>());
      values[entry.info.name].assign(disk.begin(), disk.end());
    }
  }

  std::vector<RefMap> logits(const std::vector<Tensor>& inputs) const {
    std::vector<RefMap> maps, out;
    for (const Tensor& input : inputs) maps.emplace_back(input);
    if (arch_.pixels) {
      const auto &mean = values.at("normalize.mean"), &inv_std = values.at("normalize.inv_std");
      RefMap& x = maps[0];
      for (std::size_t i = 0; i < x.v.size(); ++i) {
        const std::size_t k = i / static_cast<std::size_t>(x.h * x.w) % static_cast<std::size_t>(x.c);
        x.v[i] = (x.v[i] - mean[k]) * inv_std[k];
      }
    }
    maps[0] = run(arch_.stem, maps[0]);
    std::size_t exit = 0;
    for (std::size_t b = 0; b < arch_.blocks.size(); ++b) {
      std::vector<RefMap> made;
      for (const nets::Map& map : arch_.blocks[b].maps) made.push_back(run(map, maps));
      maps = std::move(made);
      if (exit < arch_.exits.size() && arch_.exits[exit].after_block == static_cast<int>(b)) {
        out.push_back(run(arch_.exits[exit++].path, maps));
      }
    }
    out.push_back(run(arch_.end, maps));
    return out;
  }

 private:
  RefMap run(const nets::Path& path, const std::vector<RefMap>& maps) const {
    return run(path.layers, maps[static_cast<std::size_t>(path.from)]);
  }
  RefMap run(const nets::Map& map, const std::vector<RefMap>& maps) const {
    RefMap y = run(map.paths[0], maps);
    for (std::size_t p = 1; p < map.paths.size(); ++p) {
      const RefMap other = run(map.paths[p], maps);
      if (map.join != nets::Join::kConcat) {
        for (std::size_t i = 0; i < y.v.size(); ++i) y.v[i] += other.v[i];
        continue;
      }
      RefMap joined(y.n, y.c + other.c, y.h, y.w);
      for (int i = 0; i < y.n; ++i)
        for (int k = 0; k < joined.c; ++k)
          for (int r = 0; r < y.h; ++r)
            for (int q = 0; q < y.w; ++q)
              joined.at(i, k, r, q) = k < y.c ? y.at(i, k, r, q) : other.at(i, k - y.c, r, q);
      y = std::move(joined);
    }
    if (map.join == nets::Join::kAddRelu) {
      for (double& v : y.v) v = std::max(v, 0.0);
    }
    return y;
  }
  RefMap run(const std::vector<nets::Layer>& layers, RefMap x) const {
    for (const nets::Layer& layer : layers) {
      x = std::visit([&](const auto& l) { return one(l, x); }, layer);
    }
    return x;
  }

  RefMap one(const nets::Conv2d& l, const RefMap& x) const {
    const auto& weight = values.at(l.name + ".weight");
    const int per_group = l.in / l.groups;
    RefMap y(
        x.n, l.out, (x.h + 2 * l.pad - l.kernel) / l.stride + 1, (x.w + 2 * l.pad - l.kernel) / l.stride + 1);
    for (int i = 0; i < y.n; ++i)
      for (int k = 0; k < y.c; ++k)
        for (int r = 0; r < y.h; ++r)
          for (int q = 0; q < y.w; ++q) {
            double sum = l.has_bias ? values.at(l.name + ".bias")[static_cast<std::size_t>(k)] : 0;
            for (int c = 0; c < per_group; ++c)
              for (int a = 0; a < l.kernel; ++a)
                for (int b = 0; b < l.kernel; ++b) {
                  const int row = r * l.stride - l.pad + a, column = q * l.stride - l.pad + b;
                  if (row < 0 || row >= x.h || column < 0 || column >= x.w) continue;
                  const int at = ((k * per_group + c) * l.kernel + a) * l.kernel + b;
                  sum += weight[static_cast<std::size_t>(at)] *
                         x.at(i, k / (l.out / l.groups) * per_group + c, row, column);
                }
            y.at(i, k, r, q) = sum;
          }
    return y;
  }
  RefMap one(const nets::Linear& l, const RefMap& x) const {
    const auto &weight = values.at(l.name + ".weight"), &bias = values.at(l.name + ".bias");
    RefMap y(x.n, l.out, 1, 1);
    for (int i = 0; i < x.n; ++i)
      for (int k = 0; k < l.out; ++k) {
        double sum = bias[static_cast<std::size_t>(k)];
        for (int c = 0; c < l.in; ++c)
          sum += weight[static_cast<std::size_t>(k * l.in + c)] * x.at(i, c, 0, 0);
        y.at(i, k, 0, 0) = sum;
      }
    return y;
  }
  RefMap one(const nets::BatchNorm& l, RefMap x) const {
    const auto value = [&](const char* what, int k) {
      return values.at(l.name + what)[static_cast<std::size_t>(k)];
    };
    for (int k = 0; k < x.c; ++k) {
      double mean = value(".running_mean", k), variance = value(".running_var", k);
      const auto each = [&](auto f) {
        for (int i = 0; i < x.n; ++i)
          for (int r = 0; r < x.h; ++r)
            for (int q = 0; q < x.w; ++q) f(x.at(i, k, r, q));
      };
      if (train) {
        const double count = static_cast<double>(x.n) * x.h * x.w;
        mean = variance = 0;
        each([&](double v) { mean += v / count; });
        each([&](double v) { variance += (v - mean) * (v - mean) / count; });
      }
      each([&](double& v) {
        v = value(".weight", k) * (v - mean) / std::sqrt(variance + 1e-5) + value(".bias", k);
        if (l.relu) v = std::max(v, 0.0);
      });
    }
    return x;
  }
  RefMap one(const nets::Relu&, RefMap x) const {
    for (double& v : x.v) v = std::max(v, 0.0);
    return x;
  }
  RefMap one(const nets::Flatten&, RefMap x) const {
    x.c *= x.h * x.w;
    x.h = x.w = 1;
    return x;
  }
  RefMap one(const nets::AvgPool& l, const RefMap& x) const {
    RefMap y(x.n, x.c, x.h / l.k, x.w / l.k);
    for (int i = 0; i < y.n; ++i)
      for (int k = 0; k < y.c; ++k)
        for (int r = 0; r < y.h; ++r)
          for (int q = 0; q < y.w; ++q) {
            for (int a = 0; a < l.k; ++a)
              for (int b = 0; b < l.k; ++b) y.at(i, k, r, q) += x.at(i, k, r * l.k + a, q * l.k + b);
            y.at(i, k, r, q) /= l.k * l.k;
          }
    return y;
  }
  RefMap one(const nets::MaxPool&, const RefMap&) const {
    throw std::logic_error("no reference for a max pool");
  }
  RefMap one(const nets::Dropout&, const RefMap&) const {
    throw std::logic_error("no reference for dropout");
  }
  RefMap one(const nets::ExitPool&, const RefMap&) const {
    throw std::logic_error("no reference for an exit pool");
  }

  const nets::Architecture& arch_;
};

}  // namespace offramp::test
