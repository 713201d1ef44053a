#include "engine/json_reader.hpp"

#include "engine/error.hpp"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/value_stack.hpp>

#include <limits>
#include <unordered_set>
#include <utility>

namespace lazypull {

namespace {

/// Every value takes more memory than its text, so a document may not consist of tiny ones only.
constexpr std::size_t max_values = 200'000;

/// Builds the document like Boost's own handler, but refuses duplicate keys, of which different readers would
/// take different ones.
class StrictHandler {
 public:
  using error_code = boost::system::error_code;
  using string_view = boost::json::string_view;

  static constexpr std::size_t max_object_size = boost::json::object::max_size();
  static constexpr std::size_t max_array_size = boost::json::array::max_size();
  static constexpr std::size_t max_key_size = boost::json::string::max_size();
  static constexpr std::size_t max_string_size = boost::json::string::max_size();

  StrictHandler() { stack_.reset(); }

  bool on_document_begin(error_code& /*ec*/) { return true; }
  bool on_document_end(error_code& /*ec*/) { return true; }
  bool on_object_begin(error_code& ec) {
    keys_.emplace_back();
    return count(ec);
  }
  bool on_object_end(std::size_t n, error_code& /*ec*/) {
    keys_.pop_back();
    stack_.push_object(n);
    return true;
  }
  bool on_array_begin(error_code& ec) { return count(ec); }
  bool on_array_end(std::size_t n, error_code& /*ec*/) {
    stack_.push_array(n);
    return true;
  }
  bool on_key_part(string_view text, std::size_t /*n*/, error_code& /*ec*/) {
    key_.append(text.data(), text.size());
    stack_.push_chars(text);
    return true;
  }
  bool on_key(string_view text, std::size_t /*n*/, error_code& ec) {
    key_.append(text.data(), text.size());
    stack_.push_key(text);
    if (!keys_.back().insert(std::exchange(key_, {})).second) {
      return fail(Errc::bad_response, "a key occurs twice in one object", ec);
    }
    return true;
  }
  bool on_string_part(string_view text, std::size_t /*n*/, error_code& /*ec*/) {
    stack_.push_chars(text);
    return true;
  }
  bool on_string(string_view text, std::size_t /*n*/, error_code& ec) {
    stack_.push_string(text);
    return count(ec);
  }
  bool on_number_part(string_view /*text*/, error_code& /*ec*/) { return true; }
  bool on_int64(std::int64_t number, string_view /*text*/, error_code& ec) {
    stack_.push_int64(number);
    return count(ec);
  }
  bool on_uint64(std::uint64_t number, string_view /*text*/, error_code& ec) {
    stack_.push_uint64(number);
    return count(ec);
  }
  bool on_double(double number, string_view /*text*/, error_code& ec) {
    stack_.push_double(number);
    return count(ec);
  }
  bool on_bool(bool value, error_code& ec) {
    stack_.push_bool(value);
    return count(ec);
  }
  bool on_null(error_code& ec) {
    stack_.push_null();
    return count(ec);
  }
  bool on_comment_part(string_view /*text*/, error_code& /*ec*/) { return true; }
  bool on_comment(string_view /*text*/, error_code& /*ec*/) { return true; }

  const char* refusal() const noexcept { return refusal_; }
  boost::json::value release() { return stack_.release(); }

 private:
  bool count(error_code& ec) {
    return ++values_ <= max_values || fail(Errc::invalid_image, "it has too many values", ec);
  }
  bool fail(Errc code, const char* why, error_code& ec) {
    refusal_ = why;
    ec = code;
    return false;
  }

  boost::json::value_stack stack_;
  std::vector<std::unordered_set<std::string>> keys_;  // of the objects that are open
  std::string key_;
  std::size_t values_ = 0;
  const char* refusal_ = nullptr;
};

boost::json::parse_options strict_options() {
  boost::json::parse_options options;
  options.max_depth = 32;
  options.allow_comments = false;
  options.allow_trailing_commas = false;
  options.allow_invalid_utf8 = false;
  return options;
}

[[noreturn]] void refuse_document(std::string_view what, Errc code, std::string_view why) {
  throw Error(code, std::string(what) + ": " + std::string(why));
}

}  // namespace

boost::json::object parse_json_object(std::string_view text, std::string_view what, std::uint64_t max_bytes) {
  if (text.size() > max_bytes) {
    refuse_document(what, Errc::invalid_image, "it is longer than " + std::to_string(max_bytes) + " bytes");
  }
  boost::json::basic_parser<StrictHandler> parser(strict_options());
  boost::system::error_code failure;
  const auto consumed = parser.write_some(false, text.data(), text.size(), failure);
  if (const char* refusal = parser.handler().refusal()) {
    const bool duplicate = failure == Errc::bad_response;
    refuse_document(what, duplicate ? Errc::bad_response : Errc::invalid_image, refusal);
  }
  if (failure) refuse_document(what, Errc::bad_response, "it is not valid JSON: " + failure.message());
  if (consumed != text.size()) refuse_document(what, Errc::bad_response, "text follows the JSON value");
  auto document = parser.handler().release();
  if (!document.is_object()) refuse_document(what, Errc::bad_response, "it is not a JSON object");
  return std::move(document.get_object());
}

bool JsonObject::has(std::string_view key) const {
  return object_->contains({key.data(), key.size()});
}

std::string JsonObject::text(std::string_view key) const {
  const auto* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_string()) refuse(key, "it is not a string");
  const auto& string = value->get_string();
  return {string.data(), string.size()};
}

std::optional<std::uint64_t> JsonObject::size(std::string_view key) const {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  // Boost keeps what fits int64 as int64, so uint64 means 2^63 or more, and double a fraction or an exponent.
  if (!value->is_int64() || value->get_int64() < 0) refuse(key, "it is not an integer from 0 to 2^63-1");
  return static_cast<std::uint64_t>(value->get_int64());
}

std::optional<JsonObject> JsonObject::object(std::string_view key) const {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) refuse(key, "it is not an object");
  return JsonObject(value->get_object(), path_of(key));
}

std::vector<JsonObject> JsonObject::objects(std::string_view key, std::size_t limit) const {
  std::vector<JsonObject> result;
  const auto* elements = array(key, limit);
  if (elements == nullptr) return result;
  result.reserve(elements->size());
  for (const auto& element : *elements) {
    auto path = path_of(key) + "[" + std::to_string(result.size()) + "]";
    if (!element.is_object())
      refuse(key, "its element " + std::to_string(result.size()) + " is not an object");
    result.emplace_back(element.get_object(), std::move(path));
  }
  return result;
}

std::vector<std::string> JsonObject::texts(std::string_view key, std::size_t limit) const {
  std::vector<std::string> result;
  const auto* elements = array(key, limit);
  if (elements == nullptr) return result;
  result.reserve(elements->size());
  for (const auto& element : *elements) {
    if (!element.is_string())
      refuse(key, "its element " + std::to_string(result.size()) + " is not a string");
    result.emplace_back(element.get_string().data(), element.get_string().size());
  }
  return result;
}

std::map<std::string, std::string> JsonObject::text_map(std::string_view key) const {
  std::map<std::string, std::string> result;
  const auto member = object(key);
  if (!member) return result;
  for (const auto& [name, value] : *member->object_) {
    if (!value.is_string()) refuse(key, "one of its values is not a string");
    result.emplace(std::string(name.data(), name.size()),
                   std::string(value.get_string().data(), value.get_string().size()));
  }
  return result;
}

void JsonObject::refuse(std::string_view key, std::string_view why) const {
  throw Error(Errc::bad_response, (key.empty() ? path_ : path_of(key)) + ": " + std::string(why));
}

const boost::json::value* JsonObject::find(std::string_view key) const {
  const auto* value = object_->if_contains({key.data(), key.size()});
  return value == nullptr || value->is_null() ? nullptr : value;
}

const boost::json::array* JsonObject::array(std::string_view key, std::size_t limit) const {
  const auto* value = find(key);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) refuse(key, "it is not an array");
  if (value->get_array().size() > limit) {
    throw Error(Errc::invalid_image,
                path_of(key) + ": it has more than " + std::to_string(limit) + " elements");
  }
  return &value->get_array();
}

std::string JsonObject::path_of(std::string_view key) const {
  return path_ + "." + std::string(key);
}

}  // namespace lazypull
