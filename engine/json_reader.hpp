#pragma once

#include <boost/json/object.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// Parses the whole of `text` as one JSON object, strictly (RFC 8259, no extensions, no duplicate keys, valid
/// UTF-8, nesting up to 32). `what` names the document in messages. Throws Error{bad_response}, or
/// Error{invalid_image} if it is longer than `max_bytes` or has too many values.
boost::json::object parse_json_object(std::string_view text, std::string_view what, std::uint64_t max_bytes);

/// An object of a document, read member by member. A member that is null counts as absent; one of another
/// type than asked for throws Error{bad_response} that says where it is ("manifest.layers[2].size"). Refers
/// to the document, which must outlive it.
class JsonObject {
 public:
  JsonObject(const boost::json::object& object, std::string path)
      : object_(&object), path_(std::move(path)) {}

  /// True even if the member is null.
  bool has(std::string_view key) const;
  /// Empty if absent.
  std::string text(std::string_view key) const;
  /// An integer from 0 to 2^63-1.
  std::optional<std::uint64_t> size(std::string_view key) const;
  std::optional<JsonObject> object(std::string_view key) const;
  /// Empty if absent; throws Error{invalid_image} if there are more than `limit`.
  std::vector<JsonObject> objects(std::string_view key, std::size_t limit) const;
  std::vector<std::string> texts(std::string_view key, std::size_t limit) const;
  std::map<std::string, std::string> text_map(std::string_view key) const;

  /// Throws Error{bad_response}: "manifest.config.digest: <why>"; `key` may be empty.
  [[noreturn]] void refuse(std::string_view key, std::string_view why) const;

 private:
  const boost::json::value* find(std::string_view key) const;
  const boost::json::array* array(std::string_view key, std::size_t limit) const;
  std::string path_of(std::string_view key) const;

  const boost::json::object* object_;
  std::string path_;
};

}  // namespace lazypull
