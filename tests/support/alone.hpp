#pragma once

#include <chrono>
#include <filesystem>
#include <iterator>
#include <thread>

namespace lazypull::test {

/// Whether within ten seconds this is the only thread of the process, so that it may fork without exec. A
/// thread that was let go ends a moment after its owner, and TSan kills children that start one after a fork
/// from several.
inline bool becomes_the_only_thread() {
#if __has_feature(thread_sanitizer)
  constexpr std::ptrdiff_t expected = 2;  // with the sanitizer's own
#else
  constexpr std::ptrdiff_t expected = 1;
#endif
  for (int tries = 0; tries < 1000; ++tries) {
    const std::filesystem::directory_iterator threads("/proc/self/task");
    if (std::distance(begin(threads), end(threads)) <= expected) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace lazypull::test
