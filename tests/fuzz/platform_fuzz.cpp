#include "engine/error.hpp"
#include "engine/platform.hpp"
#include "tests/fuzz/fuzz_target.hpp"

namespace lazypull::fuzz {

void fuzz_platform(Bytes input) {
  const auto text = text_of(input);
  try {
    const auto platform = Platform::parse(text);
    const auto printed = platform.str();
    require(Platform::parse(printed) == platform, "what is printed is parsed to the same", printed);
    require(platform.normalized() == platform, "a parsed platform is in normal form", printed);
    const auto matcher = PlatformMatcher::only(platform);
    require(matcher.matches(platform), "a platform matches itself", printed);
    require(!matcher.less(platform, platform), "the order is strict", printed);
    require_message(matcher.str());
  } catch (const Error& error) {
    require(error.code() == Errc::invalid_argument, "refused as an argument", error.message());
    require_message(error.message());
  }
}

}  // namespace lazypull::fuzz
