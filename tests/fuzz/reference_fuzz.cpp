#include "engine/error.hpp"
#include "engine/reference.hpp"
#include "tests/fuzz/fuzz_target.hpp"

#include <algorithm>

namespace lazypull::fuzz {

namespace {

bool is_visible(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

void check(const Reference& reference) {
  const auto name = reference.name();
  require(Reference::parse(name) == reference, "what is printed is parsed to the same", name);
  require(is_visible(name), "a name is visible ASCII", name);
  require(reference.locator().size() <= 255, "a name is at most 255 characters", name);
  require(reference.locator() == reference.domain() + "/" + reference.repository(), "the locator", name);
  require(!reference.domain().empty() && !reference.repository().empty(), "nothing is empty", name);
  require(!reference.repository().starts_with('/') && !reference.repository().ends_with('/') &&
              reference.repository().find("..") == std::string::npos,
          "a repository is no way out of a folder", name);
  require(reference.tag() || reference.digest(), "there is a tag or a digest", name);
  if (reference.tag()) require(reference.tag()->size() <= 128 && !reference.tag()->empty(), "a tag", name);
  if (reference.digest())
    require(reference.object() == reference.digest()->str(), "the digest decides", name);
  require(!reference.api_host().empty(), "there is a host to ask", name);
}

}  // namespace

void fuzz_reference(Bytes input) {
  const auto text = text_of(input);
  is_loopback_host(text);
  try {
    check(Reference::parse(text));
  } catch (const Error& error) {
    require(error.code() == Errc::invalid_argument, "refused as an argument", error.message());
    require_message(error.message());
  }
  if (const auto digest = Digest::try_parse(text)) {
    require(digest->str() == text, "a digest is as it was written", text);
    require(Digest::parse(text) == *digest, "both ways to parse agree", text);
  }
}

}  // namespace lazypull::fuzz
