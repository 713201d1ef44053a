#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lazypull::experiment {

class YamlMap;

/// A node of a YAML document that is read strictly. What is wrong throws Error{invalid_argument} that says
/// where: "SPEC.yaml:12: images[0].layout: …".
class YamlReader {
 public:
  /// One document. `what` names it in messages; a scalar has at most `word_bytes` bytes.
  static YamlReader parse(const std::string& text, const std::string& what, std::size_t max_bytes,
                          std::size_t word_bytes);

  bool is_scalar() const;
  /// A scalar, which is not empty.
  std::string text() const;
  std::uint64_t number(std::uint64_t least, std::uint64_t most) const;
  bool boolean() const;
  /// Such as 20ms or 1m30s.
  std::chrono::milliseconds duration() const;
  /// Such as 500000, 64k or 8M.
  std::uint64_t bytes() const;
  std::vector<YamlReader> list(std::size_t most) const;
  YamlMap map() const;

  [[noreturn]] void refuse(const std::string& why) const;

 private:
  friend class YamlMap;
  struct Document;
  struct Node;
  YamlReader(std::shared_ptr<const Document> document, std::shared_ptr<const Node> node, std::string path)
      : document_(std::move(document)), node_(std::move(node)), path_(std::move(path)) {}

  std::shared_ptr<const Document> document_;
  std::shared_ptr<const Node> node_;
  std::string path_;
};

/// A mapping of which every key is to be taken.
class YamlMap {
 public:
  /// Nothing if the key is not there.
  std::optional<YamlReader> take(const std::string& key);
  YamlReader need(const std::string& key);
  /// Refuses keys that were not taken.
  void end() const;

 private:
  friend class YamlReader;
  explicit YamlMap(const YamlReader& of) : of_(of) {}

  YamlReader of_;
  std::vector<std::pair<std::string, YamlReader>> entries_;
  std::set<std::string> taken_;
};

}  // namespace lazypull::experiment
