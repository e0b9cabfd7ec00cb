#!/usr/bin/env bash
# oneDNN 2.6.3, the one that Debian 12 packs: a 1x1 convolution in bfloat16 with a residual added (binary_add), on a processor
# with bfloat16 products of its own (flag avx512_bf16: Cooper Lake, Sapphire Rapids, Zen 4 and later).
#
# Expected  Each output is its sum, whatever the number of input channels; whole numbers this small are exact.
# Happens   The last of an odd number of input channels counts for nothing: every output is wrong. With an even number, without
#           the residual, or with the products emulated (DNNL_MAX_CPU_ISA=AVX512_CORE_VNNI) all are right.
# Bites     Who fuses a block's shortcut into its last convolution for inference: the wrong numbers are near the right ones.
# Offramp   Asks for the implementation's name and takes its own kernel (kernels/cpu/onednn.cpp, is_wrong); the geometry is
#           among those that tests/kernels/conv2d_test.cpp compares with double precision.
set -euo pipefail

grep -qw avx512_bf16 /proc/cpuinfo || { echo "this processor has no avx512_bf16: nothing to see here"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq libdnnl2=2.6.3-1 libdnnl-dev=2.6.3-1
for package in *.deb; do dpkg -x "$package" root; done
cat >conv.cpp <<'CPP'
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <dnnl.hpp>
#include <vector>

using dnnl::memory;
using bf16 = std::uint16_t;

bf16 narrow(int v) {
  const float f = static_cast<float>(v);
  std::uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return static_cast<bf16>(bits >> 16);  // small whole numbers are exact
}
float widen(bf16 v) {
  const std::uint32_t bits = std::uint32_t{v} << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
int small(int i, int step) { return i * step % 5 - 2; }

// A 1x1 convolution from c channels to 6 plus a residual, in whole numbers: how many of the outputs are not their sums?
int wrong(int c) {
  const int n = 2, h = 10, w = 12, k = 6, pixels = n * h * w;
  std::vector<bf16> x(pixels * c), weight(k * c), add(pixels * k), y(pixels * k);
  for (int i = 0; i < pixels * c; ++i) x[i] = narrow(small(i, 7));
  for (int i = 0; i < k * c; ++i) weight[i] = narrow(small(i, 11));
  for (int i = 0; i < pixels * k; ++i) add[i] = narrow(small(i, 13));
  const auto type = memory::data_type::bf16;
  const memory::desc xd({n, c, h, w}, type, memory::format_tag::nhwc), yd({n, k, h, w}, type, memory::format_tag::nhwc),
      any({k, c, 1, 1}, type, memory::format_tag::any), wd({k, c, 1, 1}, type, memory::format_tag::oihw);
  dnnl::post_ops ops;
  ops.append_binary(dnnl::algorithm::binary_add, yd);
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(ops);
  dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const dnnl::convolution_forward::desc what(dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct,
                                             xd, any, yd, {1, 1}, {0, 0}, {0, 0});
  const dnnl::convolution_forward::primitive_desc how(what, attributes, engine);
  memory mx(xd, engine, x.data()), my(yd, engine, y.data()), madd(yd, engine, add.data()), mw(wd, engine, weight.data()),
      packed(how.weights_desc(), engine);
  dnnl::reorder(mw, packed).execute(stream, mw, packed);
  dnnl::convolution_forward(how).execute(
      stream, {{DNNL_ARG_SRC, mx}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DST, my},
               {DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, madd}});
  stream.wait();
  int bad = 0;
  for (int p = 0; p < pixels; ++p)
    for (int o = 0; o < k; ++o) {
      float sum = widen(add[p * k + o]);
      for (int i = 0; i < c; ++i) sum += widen(x[p * c + i]) * widen(weight[o * c + i]);
      if (widen(y[p * k + o]) != sum) ++bad;
    }
  std::printf("%d input channels, %s: %d of %d outputs wrong\n", c, how.impl_info_str(), bad, pixels * k);
  return bad;
}

int main() {
  std::printf("oneDNN %d.%d.%d\n", dnnl::version()->major, dnnl::version()->minor, dnnl::version()->patch);
  const int even = wrong(16), odd = wrong(15);
  return even == 0 && odd > 0 ? 0 : 1;
}
CPP
libraries=root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo x86_64-linux-gnu)
g++ -std=c++17 -O1 conv.cpp -Iroot/usr/include -L"$libraries" -ldnnl -o conv
LD_LIBRARY_PATH=$libraries ./conv || { echo "the behaviour has changed" >&2; exit 1; }
