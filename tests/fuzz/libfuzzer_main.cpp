// One executable a target: LAZYPULL_FUZZ_TARGET names its function.
#include "tests/fuzz/fuzz_target.hpp"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lazypull::fuzz::LAZYPULL_FUZZ_TARGET(std::as_bytes(std::span(data, size)));
  return 0;
}
