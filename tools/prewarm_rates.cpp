#include "tools/prewarm_rates.hpp"

#include "engine/error.hpp"
#include "tools/byte_size.hpp"
#include "tools/text.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>

namespace lazypull {
namespace {

constexpr std::size_t longest_file = 64U << 10U;
constexpr std::string_view blanks = " \t\r\v\f";

[[noreturn]] void refuse(const std::string& message) {
  throw Error(Errc::invalid_argument, message);
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

}  // namespace

void add_class_rate(ClassRates& rates, std::string_view text, const std::string& name) {
  const auto equals = text.find('=');
  const auto word = trimmed(text.substr(0, equals));
  if (equals == std::string_view::npos || (word != "prewarm" && word != "serving")) {
    refuse(name + ": '" + printable(text) + "' is neither prewarm=RATE nor serving=RATE");
  }
  const auto rate = parse_byte_size(trimmed(text.substr(equals + 1)));
  if (!rate) refuse(name + ": '" + printable(text) + "' has no number of bytes such as 500k or 20M");
  rates[word == "prewarm" ? PullClass::prewarm : PullClass::serving] = *rate;
}

ClassRates parse_class_rates(std::string_view text, const std::string& name) {
  ClassRates rates;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto content = trimmed(text.substr(0, std::min(text.substr(0, end).find('#'), end)));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (content.empty()) continue;
    const auto known = rates.size();
    const std::string where = name + ":" + std::to_string(line);
    add_class_rate(rates, content, where);
    if (rates.size() == known) refuse(where + ": the class is there twice");
  }
  return rates;
}

ClassRates read_class_rates(const std::string& file) {
  using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
  const File opened(std::fopen(file.c_str(), "re"), std::fclose);
  if (!opened) refuse(file + ": " + std::strerror(errno));
  std::string text(longest_file + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), opened.get()));
  if (std::ferror(opened.get()) != 0) refuse(file + ": " + std::strerror(errno));
  if (text.size() > longest_file) refuse(file + ": is larger than 64 KiB");
  return parse_class_rates(text, file);
}

}  // namespace lazypull
