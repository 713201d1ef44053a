#include "tools/experiment/yaml_reader.hpp"

#include "engine/error.hpp"
#include "tools/byte_size.hpp"
#include "transport/duration.hpp"

#include <charconv>
#include <yaml-cpp/yaml.h>

namespace lazypull::experiment {

namespace {

/// Keys become parts of messages, so they are short.
constexpr std::size_t max_key_bytes = 64;
constexpr std::size_t max_keys = 1000;

}  // namespace

struct YamlReader::Document {
  std::string what;
  std::size_t word_bytes = 0;
};

struct YamlReader::Node {
  YAML::Node yaml;
};

YamlReader YamlReader::parse(const std::string& text, const std::string& what, std::size_t max_bytes,
                             std::size_t word_bytes) {
  if (text.size() > max_bytes) {
    throw Error(Errc::invalid_argument, what + ": is longer than " + std::to_string(max_bytes) + " bytes");
  }
  try {
    const auto documents = YAML::LoadAll(text);
    if (documents.size() != 1) throw Error(Errc::invalid_argument, what + ": is not one YAML document");
    return {std::make_shared<const Document>(Document{what, word_bytes}),
            std::make_shared<const Node>(Node{documents.front()}), ""};
  } catch (const YAML::Exception& failure) {
    throw Error(Errc::invalid_argument,
                what + ":" + std::to_string(failure.mark.line + 1) + ": " + failure.msg);
  }
}

void YamlReader::refuse(const std::string& why) const {
  auto where = document_->what;
  if (const auto mark = node_->yaml.Mark(); !mark.is_null()) where += ":" + std::to_string(mark.line + 1);
  throw Error(Errc::invalid_argument, where + ": " + (path_.empty() ? "" : path_ + ": ") + why);
}

bool YamlReader::is_scalar() const {
  return node_->yaml.IsScalar();
}

std::string YamlReader::text() const {
  if (!node_->yaml.IsScalar()) refuse("is not a single value");
  const auto& value = node_->yaml.Scalar();
  if (value.empty()) refuse("is empty");
  if (value.size() > document_->word_bytes) refuse("is too long");
  if (value.find('\0') != std::string::npos) refuse("has a NUL byte");
  return value;
}

std::uint64_t YamlReader::number(std::uint64_t least, std::uint64_t most) const {
  const auto word = text();
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc{} || end != word.data() + word.size() || value < least || value > most) {
    refuse("'" + word.substr(0, max_key_bytes) + "' is not a number from " + std::to_string(least) + " to " +
           std::to_string(most));
  }
  return value;
}

bool YamlReader::boolean() const {
  const auto word = text();
  if (word != "true" && word != "false") {
    refuse("'" + word.substr(0, max_key_bytes) + "' is neither true nor false");
  }
  return word == "true";
}

std::chrono::milliseconds YamlReader::duration() const {
  const auto word = text();
  const auto value = parse_duration(word);
  if (!value || *value > std::chrono::hours(24)) {
    refuse("'" + word.substr(0, max_key_bytes) + "' is not a duration such as 20ms or 1m30s, up to 24h");
  }
  return std::chrono::ceil<std::chrono::milliseconds>(*value);
}

std::uint64_t YamlReader::bytes() const {
  const auto word = text();
  const auto value = parse_byte_size(word);
  if (!value) refuse("'" + word.substr(0, max_key_bytes) + "' is not a number of bytes such as 64k or 8M");
  return *value;
}

std::vector<YamlReader> YamlReader::list(std::size_t most) const {
  if (!node_->yaml.IsSequence()) refuse("is not a list");
  if (node_->yaml.size() > most) refuse("has more than " + std::to_string(most) + " entries");
  std::vector<YamlReader> items;
  std::size_t index = 0;
  for (const auto& item : node_->yaml) {
    items.push_back(YamlReader(document_, std::make_shared<const Node>(Node{item}),
                               path_ + "[" + std::to_string(index++) + "]"));
  }
  return items;
}

YamlMap YamlReader::map() const {
  if (!node_->yaml.IsMap()) refuse("is not a mapping of keys to values");
  if (node_->yaml.size() > max_keys) refuse("has too many keys");
  YamlMap map(*this);
  std::set<std::string> seen;
  for (const auto& entry : node_->yaml) {
    if (!entry.first.IsScalar() || entry.first.Scalar().size() > max_key_bytes)
      refuse("has a key that is no word");
    const auto& key = entry.first.Scalar();
    YamlReader value(document_, std::make_shared<const Node>(Node{entry.second}),
                     path_.empty() ? key : path_ + "." + key);
    if (!seen.insert(key).second) value.refuse("is there twice");
    map.entries_.emplace_back(key, std::move(value));
  }
  return map;
}

std::optional<YamlReader> YamlMap::take(const std::string& key) {
  taken_.insert(key);
  for (const auto& [name, value] : entries_) {
    if (name == key) return value;
  }
  return std::nullopt;
}

YamlReader YamlMap::need(const std::string& key) {
  auto value = take(key);
  if (!value) of_.refuse("'" + key + "' is missing");
  return *value;
}

void YamlMap::end() const {
  for (const auto& [name, value] : entries_) {
    if (!taken_.contains(name)) value.refuse("there is no such key");
  }
}

}  // namespace lazypull::experiment
