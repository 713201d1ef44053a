#include "tests/fuzz/fuzz_target.hpp"
#include "transport/challenge.hpp"

#include <algorithm>

namespace lazypull::fuzz {

namespace {

// In the form that RFC 9110 wants.
std::string printed(const Challenge& challenge) {
  std::string text = challenge.scheme;
  if (!challenge.token68.empty()) return text + " " + challenge.token68;
  const char* separator = " ";
  for (const auto& [name, value] : challenge.parameters) {
    text.append(separator).append(name).append("=\"");
    for (const char c : value) {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
    text += '"';
    separator = ", ";
  }
  return text;
}

bool has_upper(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return c >= 'A' && c <= 'Z'; });
}

}  // namespace

void fuzz_challenge(Bytes input) {
  std::vector<std::string_view> headers;
  for (auto rest = text_of(input); !rest.empty() && headers.size() < 8;) {
    const auto line = rest.substr(0, rest.find('\n'));
    headers.push_back(line);
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
  const auto challenges = parse_challenges(headers);
  require(challenges.size() <= 16, "at most 16 challenges");
  for (const auto& challenge : challenges) {
    require(!challenge.scheme.empty() && !has_upper(challenge.scheme), "a scheme is lower case");
    require(challenge.parameters.size() <= 32, "at most 32 parameters");
    require(challenge.token68.empty() || challenge.parameters.empty(), "a token68 or parameters");
    for (const auto& [name, value] : challenge.parameters) {
      require(!name.empty() && !has_upper(name), "a parameter's name is lower case", name);
      require(challenge.parameter(name).has_value(), "a parameter is found", name);
    }
    const auto text = printed(challenge);
    if (text.size() > 16U << 10U) continue;
    const auto again = parse_challenges({text});
    require(again.size() == 1 && again.front() == challenge, "what is printed is parsed to the same", text);
  }
}

}  // namespace lazypull::fuzz
