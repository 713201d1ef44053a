#include "tools/prewarm_list.hpp"

#include "tools/prewarm_yaml.hpp"
#include "tools/text.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>

namespace lazypull {
namespace {

constexpr std::size_t longest_file = 16U << 20U;
constexpr std::size_t longest_yaml = 4U << 20U;
constexpr int highest_priority = 1000;
constexpr std::string_view blanks = " \t\r\v\f";

[[noreturn]] void refuse(const std::string& message) {
  throw Error(Errc::invalid_argument, message);
}

/// The words of a line, up to a comment.
std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> found;
  for (;;) {
    const auto start = line.find_first_not_of(blanks);
    if (start == std::string_view::npos || line[start] == '#') return found;
    line.remove_prefix(start);
    const auto end = std::min(line.find_first_of(blanks), line.size());
    found.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

void add_platforms(std::string_view list, std::vector<Platform>& platforms) {
  for (;;) {
    const auto comma = list.find(',');
    const auto platform = Platform::parse(list.substr(0, comma));
    if (std::ranges::find(platforms, platform) == platforms.end()) platforms.push_back(platform);
    if (comma == std::string_view::npos) return;
    list.remove_prefix(comma + 1);
  }
}

PrewarmItem parse_words(const std::vector<std::string_view>& parts) {
  PrewarmItem item{Reference::parse(parts.front()), {}, 0};
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto equals = parts[i].find('=');
    const auto key = parts[i].substr(0, equals);
    const auto value = equals == std::string_view::npos ? std::string_view() : parts[i].substr(equals + 1);
    if (key == "platform") {
      add_platforms(value, item.platforms);
    } else if (key == "priority") {
      item.priority = parse_prewarm_priority(value);
    } else {
      refuse("'" + printable(parts[i]) + "' is neither platform=… nor priority=…");
    }
  }
  return item;
}

std::string read_whole(const std::string& name) {
  const bool standard_input = name == "-";
  using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
  File opened(standard_input ? nullptr : std::fopen(name.c_str(), "re"), std::fclose);
  std::FILE* file = standard_input ? stdin : opened.get();
  if (file == nullptr) refuse(name + ": " + std::strerror(errno));
  std::string text;
  std::array<char, 1U << 16U> buffer{};
  for (;;) {
    const auto size = std::fread(buffer.data(), 1, buffer.size(), file);
    text.append(buffer.data(), size);
    if (text.size() > longest_file) refuse(name + ": is larger than 16 MiB");
    if (size == 0) break;
  }
  if (std::ferror(file) != 0) refuse(name + ": " + std::strerror(errno));
  return text;
}

class Merger {
 public:
  void add(PrewarmItem item) {
    std::string key = item.reference.name();
    std::vector<std::string> platforms;
    platforms.reserve(item.platforms.size());
    for (const auto& platform : item.platforms) platforms.push_back(platform.str());
    std::ranges::sort(platforms);
    for (const auto& platform : platforms) key += " " + platform;
    const auto [found, is_new] = places_.emplace(std::move(key), items_.size());
    if (is_new) {
      items_.push_back(std::move(item));
    } else {
      auto& known = items_[found->second];
      known.priority = std::max(known.priority, item.priority);
    }
  }
  std::vector<PrewarmItem> take() { return std::move(items_); }

 private:
  std::map<std::string, std::size_t> places_;
  std::vector<PrewarmItem> items_;
};

std::vector<PrewarmItem> read_list(const std::string& file, PrewarmFormat format) {
  const std::string name = file == "-" ? "standard input" : file;
  const bool named_yaml = file.ends_with(".yaml") || file.ends_with(".yml");
  const bool yaml = format == PrewarmFormat::yaml || (format == PrewarmFormat::automatic && named_yaml);
  const auto text = read_whole(file);
  if (!yaml) return parse_prewarm_list(text, name);
  if (text.size() > longest_yaml) refuse(name + ": is larger than 4 MiB");
  return parse_prewarm_yaml(text, name);
}

}  // namespace

int parse_prewarm_priority(std::string_view text) {
  int value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && rest == text.data() + text.size();
  if (!whole || value < -highest_priority || value > highest_priority) {
    refuse("priority: '" + printable(text) + "' is not a number from -1000 to 1000");
  }
  return value;
}

std::vector<PrewarmItem> parse_prewarm_list(std::string_view text, const std::string& name) {
  std::vector<PrewarmItem> items;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto parts = words(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (parts.empty()) continue;
    try {
      items.push_back(parse_words(parts));
    } catch (const Error& error) {
      throw error.with_context(name + ":" + std::to_string(line));
    }
  }
  return items;
}

std::vector<PrewarmItem> read_prewarm_lists(const std::vector<std::string>& files,
                                            const std::vector<std::string>& images, PrewarmFormat format) {
  Merger merger;
  for (const auto& file : files) {
    for (auto& item : read_list(file, format)) merger.add(std::move(item));
  }
  for (const auto& image : images) merger.add({Reference::parse(image), {}, 0});
  auto items = merger.take();
  if (items.empty()) refuse("no image is named");
  return items;
}

}  // namespace lazypull
