#include "transport/challenge.hpp"

#include "transport/http_message.hpp"

#include <algorithm>

namespace lazypull {

namespace {

constexpr std::size_t max_header_bytes = 16U << 10U;
constexpr std::size_t max_challenges = 16;
constexpr std::size_t max_parameters = 32;

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_token_char(char c) {
  return is_alphanumeric(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}
bool is_token68_char(char c) {
  return is_alphanumeric(c) || std::string_view("-._~+/").find(c) != std::string_view::npos;
}
bool is_space(char c) {
  return c == ' ' || c == '\t';
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  void parse(std::vector<Challenge>& out) {
    skip_separators();
    while (!rest_.empty() && out.size() < max_challenges) {
      Challenge challenge;
      challenge.scheme = lower(take_while(rest_, is_token_char));
      if (challenge.scheme.empty()) return;
      const bool spaced = !rest_.empty() && is_space(rest_.front());
      take_while(rest_, is_space);
      const bool whole = !spaced || parse_token68(challenge) || parse_parameters(challenge);
      out.push_back(std::move(challenge));
      if (!whole) return;
      skip_separators();
    }
  }

 private:
  template <class Predicate>
  static std::string_view take_while(std::string_view& text, Predicate predicate) {
    const auto end = std::find_if_not(text.begin(), text.end(), predicate);
    const auto taken = text.substr(0, static_cast<std::size_t>(end - text.begin()));
    text.remove_prefix(taken.size());
    return taken;
  }

  void skip_separators() {
    take_while(rest_, [](char c) { return is_space(c) || c == ','; });
  }

  // Only where a comma or the end follows it: otherwise it is the first parameter or the next scheme.
  bool parse_token68(Challenge& challenge) {
    auto ahead = rest_;
    const auto letters = take_while(ahead, is_token68_char);
    const auto padding = take_while(ahead, [](char c) { return c == '='; });
    take_while(ahead, is_space);
    if (letters.empty() || (!ahead.empty() && ahead.front() != ',')) return false;
    challenge.token68 = std::string(letters) + std::string(padding);
    rest_ = ahead;
    return true;
  }

  // False where the header cannot be understood any further.
  bool parse_parameters(Challenge& challenge) {
    for (;;) {
      auto ahead = rest_;
      take_while(ahead, [](char c) { return is_space(c) || c == ','; });
      const auto name = take_while(ahead, is_token_char);
      take_while(ahead, is_space);
      if (name.empty() || ahead.empty() || ahead.front() != '=')
        return true;  // the next challenge, or the end
      ahead.remove_prefix(1);
      take_while(ahead, is_space);
      auto value = take_value(ahead);
      if (!value || challenge.parameters.size() == max_parameters) return false;
      challenge.parameters.emplace_back(lower(name), std::move(*value));
      rest_ = ahead;
    }
  }

  static std::optional<std::string> take_value(std::string_view& text) {
    if (!text.starts_with('"')) {
      return std::string(take_while(text, [](char c) { return !is_space(c) && c != ',' && c != '"'; }));
    }
    std::string value;
    for (std::size_t i = 1; i < text.size(); ++i) {
      if (text[i] == '"') {
        text.remove_prefix(i + 1);
        return value;
      }
      if (text[i] == '\\') ++i;
      if (i == text.size()) break;
      value += text[i];
    }
    return std::nullopt;
  }

  std::string_view rest_;
};

}  // namespace

std::optional<std::string_view> Challenge::parameter(std::string_view name) const noexcept {
  for (const auto& [key, value] : parameters) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::vector<Challenge> parse_challenges(const std::vector<std::string_view>& headers) {
  std::vector<Challenge> challenges;
  for (const auto header : headers) Parser(header.substr(0, max_header_bytes)).parse(challenges);
  return challenges;
}

}  // namespace lazypull
