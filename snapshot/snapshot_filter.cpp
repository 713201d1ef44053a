#include "snapshot/snapshot_filter.hpp"

#include "engine/error.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <re2/re2.h>
#include <string_view>
#include <utility>

namespace lazypull {

namespace {

constexpr std::size_t most_filters = 256;
constexpr std::size_t longest_filter = std::size_t{64} << 10U;
constexpr std::size_t most_selectors = 1024;
constexpr std::size_t most_expressions = 64;
constexpr std::int64_t expression_memory = std::int64_t{1} << 20U;

enum class Operator { present, equal, not_equal, matches };

struct Parsed {
  std::vector<std::string> path;
  Operator op = Operator::present;
  std::string value;
};

constexpr char32_t no_rune = 0xFFFFFFFF;  ///< the end, or bytes that are not UTF-8

struct Rune {
  char32_t value = no_rune;
  std::size_t width = 0;  ///< bytes; 0 at the end
};

/// NUL and U+FFFD count as malformed too, as they do in containerd.
Rune rune_at(std::string_view text, std::size_t position) {
  if (position >= text.size()) return {};
  const auto byte = [&](std::size_t i) {
    return position + i < text.size() ? static_cast<unsigned char>(text[position + i]) : 0U;
  };
  const char32_t first = byte(0);
  if (first < 0x80) return {first == 0 ? no_rune : first, 1};
  const std::size_t width = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4) return {no_rune, 1};
  char32_t value = first & (0xFFU >> (width + 1));
  for (std::size_t i = 1; i < width; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return {no_rune, 1};
    value = (value << 6U) | (byte(i) & 0x3FU);
  }
  constexpr std::array<char32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < least.at(width) || value > 0x10FFFF || surrogate) return {no_rune, 1};
  return {value == 0xFFFD ? no_rune : value, width};
}

void append_utf8(std::string& text, char32_t value) {
  if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) value = 0xFFFD;
  const auto put = [&](char32_t byte) { text += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (value < 0x80) return put(value);
  if (value < 0x800) {
    put(0xC0 | (value >> 6U));
  } else if (value < 0x10000) {
    put(0xE0 | (value >> 12U));
    put(0x80 | ((value >> 6U) & 0x3FU));
  } else {
    put(0xF0 | (value >> 18U));
    put(0x80 | ((value >> 12U) & 0x3FU));
    put(0x80 | ((value >> 6U) & 0x3FU));
  }
  put(0x80 | (value & 0x3FU));
}

/// Unicode's White_Space.
bool is_space(char32_t rune) {
  constexpr std::u32string_view others = U" \u0085\u00A0\u1680\u2028\u2029\u202F\u205F\u3000";
  return (rune >= '\t' && rune <= '\r') || (rune >= 0x2000 && rune <= 0x200A) ||
         others.find(rune) != std::u32string_view::npos;
}

bool is_field_rune(char32_t rune) {
  return rune == '_' || (rune >= '0' && rune <= '9') || (rune >= 'A' && rune <= 'Z') ||
         (rune >= 'a' && rune <= 'z');
}

bool is_operator_rune(char32_t rune) {
  return rune == '=' || rune == '!' || rune == '~';
}

bool is_quote(char32_t rune) {
  return rune == '"' || rune == '/' || rune == '|';
}

/// Letters, marks, numbers, punctuation and symbols of any script.
bool is_value_rune(char32_t rune, std::string_view bytes) {
  if (rune == no_rune || rune == ',' || is_space(rune)) return false;
  if (rune < 0x80) return rune > 0x20 && rune < 0x7F;
  static const re2::RE2 graphic("[\\pL\\pM\\pN\\pP\\pS]");
  return re2::RE2::FullMatch({bytes.data(), bytes.size()}, graphic);
}

std::optional<std::uint32_t> digit_of(char32_t rune, std::uint32_t base) {
  std::uint32_t digit = base;
  if (rune >= '0' && rune <= '9') digit = rune - '0';
  if (rune >= 'a' && rune <= 'f') digit = rune - 'a' + 10;
  if (rune >= 'A' && rune <= 'F') digit = rune - 'A' + 10;
  if (digit >= base) return std::nullopt;
  return digit;
}

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  std::vector<Parsed> selectors() {
    std::vector<Parsed> all{selector()};
    while (!at_end()) {
      if (!take(',')) fail("unexpected input");
      all.push_back(selector());
      if (all.size() > most_selectors) fail("too many selectors");
    }
    return all;
  }

 private:
  Rune peek() const { return rune_at(text_, position_); }
  bool at_end() const { return position_ >= text_.size(); }
  void skip_space() {
    while (!at_end() && is_space(peek().value)) position_ += peek().width;
  }
  bool take(char32_t rune) {
    if (peek().value != rune) return false;
    ++position_;
    return true;
  }

  [[noreturn]] void fail(std::string_view what) const {
    constexpr std::size_t shown = 128;
    auto message = "filter [" + text_.substr(0, shown) + (text_.size() > shown ? "...]" : "]");
    message += ": at byte " + std::to_string(position_) + ": ";
    throw Error(Errc::invalid_argument, message.append(what));
  }

  Parsed selector() {
    Parsed parsed;
    parsed.path.push_back(field());
    while (take('.')) parsed.path.push_back(field());
    if (at_end() || peek().value == ',') return parsed;
    parsed.op = comparison();
    parsed.value = value(parsed.op == Operator::matches);
    return parsed;
  }

  std::string field() {
    skip_space();
    if (is_quote(peek().value)) return quoted(false);
    const auto start = position_;
    while (is_field_rune(peek().value)) ++position_;
    if (position_ == start) fail("expected a field or a quoted one");
    return text_.substr(start, position_ - start);
  }

  Operator comparison() {
    skip_space();
    const auto start = position_;
    while (is_operator_rune(peek().value)) ++position_;
    const auto word = std::string_view(text_).substr(start, position_ - start);
    if (word == "==") return Operator::equal;
    if (word == "!=") return Operator::not_equal;
    if (word == "~=") return Operator::matches;
    position_ = start;
    fail(R"(expected an operator ("=="|"!="|"~="))");
  }

  std::string value(bool any_quotes) {
    skip_space();
    const auto first = peek();
    if (is_quote(first.value)) return quoted(any_quotes);
    const bool begins = first.value != no_rune && first.value != ',' && first.value != '.';
    if (!begins || is_operator_rune(first.value)) fail("expected a value or a quoted one");
    const auto start = position_;
    for (auto rune = first;;) {
      position_ += rune.width;
      rune = peek();
      if (!is_value_rune(rune.value, std::string_view(text_).substr(position_, rune.width))) break;
    }
    return text_.substr(start, position_ - start);
  }

  std::string quoted(bool any_quotes) {
    const auto quote = peek().value;
    if (quote != '"' && !any_quotes) fail("invalid quote");
    ++position_;
    std::string content;
    for (;;) {
      const auto rune = peek();
      if (rune.value == no_rune || rune.value == '\n') fail("quoted literal not terminated");
      const auto start = position_;
      position_ += rune.width;
      if (rune.value == quote) return content;
      if (rune.value == '\\') {
        escape(quote, content);
      } else {
        content.append(text_, start, rune.width);
      }
    }
  }

  void escape(char32_t quote, std::string& content) {
    constexpr std::string_view letters = "abfnrtv\\";
    constexpr std::string_view meanings = "\a\b\f\n\r\t\v\\";
    const auto rune = peek();
    const auto letter = rune.value < 0x80 ? static_cast<char>(rune.value) : '\0';
    const auto known = letters.find(letter);
    if (rune.value == quote || (known != std::string_view::npos && letter != '\0')) {
      ++position_;
      content += rune.value == quote ? letter : meanings[known];
    } else if (digit_of(rune.value, 8)) {
      const auto byte = number(8, 3);
      if (byte > 0xFF) fail("illegal numeric escape sequence");
      content += static_cast<char>(static_cast<unsigned char>(byte));
    } else if (take('x')) {
      content += static_cast<char>(static_cast<unsigned char>(number(16, 2)));
    } else if (take('u')) {
      append_utf8(content, number(16, 4));
    } else if (take('U')) {
      const auto code = number(16, 8);
      if (code > 0x10FFFF) fail("illegal numeric escape sequence");
      append_utf8(content, code);
    } else {
      fail("illegal escape sequence");
    }
  }

  std::uint32_t number(std::uint32_t base, int digits) {
    std::uint32_t number = 0;
    for (; digits > 0; --digits) {
      const auto digit = digit_of(peek().value, base);
      if (!digit) fail("illegal numeric escape sequence");
      number = number * base + *digit;
      ++position_;
    }
    return number;
  }

  const std::string& text_;
  std::size_t position_ = 0;
};

std::string_view kind_name(SnapshotKind kind) {
  switch (kind) {
    case SnapshotKind::active:
      return "active";
    case SnapshotKind::view:
      return "view";
    case SnapshotKind::committed:
      return "committed";
    case SnapshotKind::unknown:
      break;
  }
  return {};
}

std::string joined(std::span<const std::string> parts) {
  std::string text;
  for (const auto& part : parts) {
    if (&part != &parts.front()) text += '.';
    text += part;
  }
  return text;
}

std::unique_ptr<re2::RE2> compiled(const std::string& expression) {
  re2::RE2::Options options(re2::RE2::Quiet);
  options.set_max_mem(expression_memory);
  return std::make_unique<re2::RE2>(expression, options);
}

}  // namespace

struct SnapshotFilter::Selector {
  std::string field;
  std::string label;  ///< of the field "labels"
  Operator op;
  std::string value;
  std::unique_ptr<re2::RE2> expression;

  explicit Selector(Parsed parsed)
      : field(std::move(parsed.path.front())),
        label(joined(std::span(parsed.path).subspan(1))),
        op(parsed.op),
        value(std::move(parsed.value)) {
    if (op == Operator::matches) expression = compiled(value);
  }

  std::optional<std::string_view> find(const SnapshotInfo& snapshot) const {
    if (field == "name") return snapshot.name;
    if (field == "parent") return snapshot.parent;
    if (field == "kind" && snapshot.kind != SnapshotKind::unknown) return kind_name(snapshot.kind);
    if (field != "labels") return std::nullopt;
    const auto found = snapshot.labels.find(label);
    if (found == snapshot.labels.end()) return std::nullopt;
    return found->second;
  }

  bool matches(const SnapshotInfo& snapshot) const {
    const auto found = find(snapshot);
    const auto text = found.value_or(std::string_view());
    switch (op) {
      case Operator::present:
        return found.has_value();
      case Operator::equal:
        return found && text == value;
      case Operator::not_equal:
        return text != value;
      case Operator::matches:
        return expression->ok() && re2::RE2::PartialMatch({text.data(), text.size()}, *expression);
    }
    return false;
  }
};

struct SnapshotFilter::Filters {
  std::vector<std::vector<Selector>> any;  ///< of these, all selectors of one; none matches everything
};

SnapshotFilter SnapshotFilter::parse(std::span<const std::string> filters) {
  if (filters.size() > most_filters) throw Error(Errc::invalid_argument, "too many filters");
  auto parsed = std::make_shared<Filters>();
  std::size_t selectors = 0;
  std::size_t expressions = 0;
  for (const auto& text : filters) {
    if (text.size() > longest_filter) throw Error(Errc::invalid_argument, "a filter is too long");
    auto& all = parsed->any.emplace_back();
    if (text.empty()) continue;
    for (auto& selector : Parser(text).selectors()) {
      if (selector.op == Operator::matches) ++expressions;
      if (++selectors > most_selectors || expressions > most_expressions) {
        throw Error(Errc::invalid_argument, "too many selectors or regular expressions in filters");
      }
      all.emplace_back(std::move(selector));
    }
  }
  return SnapshotFilter(std::move(parsed));
}

bool SnapshotFilter::matches(const SnapshotInfo& snapshot) const {
  if (filters_->any.empty()) return true;
  return std::ranges::any_of(filters_->any, [&](const std::vector<Selector>& all) {
    return std::ranges::all_of(all, [&](const Selector& selector) { return selector.matches(snapshot); });
  });
}

}  // namespace lazypull
