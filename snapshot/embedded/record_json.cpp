#include "snapshot/embedded/record_json.hpp"

#include "engine/descriptor_json.hpp"
#include "engine/error.hpp"
#include "engine/json_reader.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <openssl/evp.h>

#include <vector>

namespace lazypull {

namespace {

constexpr std::uint64_t max_record_bytes = 16U << 20U;

boost::json::object to_object(const std::map<std::string, std::string>& texts) {
  boost::json::object object;
  for (const auto& [key, value] : texts) object.emplace(key, value);
  return object;
}

boost::json::array to_array(const std::vector<std::string>& texts) {
  boost::json::array array;
  for (const auto& text : texts) array.emplace_back(text);
  return array;
}

std::string base64(const std::string& bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

boost::json::object to_json(const Platform& platform) {
  boost::json::object json;
  json["architecture"] = platform.architecture;
  json["os"] = platform.os;
  if (!platform.os_version.empty()) json["os.version"] = platform.os_version;
  if (!platform.os_features.empty()) json["os.features"] = to_array(platform.os_features);
  if (!platform.variant.empty()) json["variant"] = platform.variant;
  return json;
}

Labels parse_labels(std::string_view text) {
  if (text == "{}") return {};
  const auto document = parse_json_object(text, "labels", max_record_bytes);
  Labels labels;
  for (const auto& [key, value] : document) {
    const auto* string = value.if_string();
    if (string == nullptr) throw Error(Errc::bad_response, "labels: one is no text");
    labels.emplace(key, std::string(*string));
  }
  return labels;
}

Descriptor read_descriptor(std::string_view text) {
  const auto document = parse_json_object(text, "descriptor", max_record_bytes);
  return parse_descriptor(JsonObject(document, "descriptor"));
}

template <class Read>
auto read_record(std::string_view text, Read read) {
  try {
    return read(text);
  } catch (const Error& error) {
    throw Error(Errc::failed_precondition, "the store's database is damaged: " + error.message());
  }
}

template <class Read>
std::string check_record(std::string text, Read read) {
  try {
    read(text);
  } catch (const Error& error) {
    throw Error(Errc::invalid_argument, "cannot be recorded: " + error.message());
  }
  return text;
}

}  // namespace

std::string text_of(const Labels& labels) {
  return check_record(boost::json::serialize(to_object(labels)), parse_labels);
}

std::string text_of(const Descriptor& descriptor) {
  return check_record(boost::json::serialize(to_json(descriptor)), read_descriptor);
}

Labels labels_of(std::string_view text) {
  return read_record(text, parse_labels);
}

Descriptor descriptor_of(std::string_view text) {
  return read_record(text, read_descriptor);
}

boost::json::object to_json(const Descriptor& descriptor) {
  boost::json::object json;
  json["mediaType"] = descriptor.media_type;
  json["digest"] = descriptor.digest.str();
  json["size"] = descriptor.size;
  if (!descriptor.urls.empty()) json["urls"] = to_array(descriptor.urls);
  if (!descriptor.annotations.empty()) json["annotations"] = to_object(descriptor.annotations);
  if (descriptor.data) json["data"] = base64(*descriptor.data);
  if (descriptor.platform) json["platform"] = to_json(*descriptor.platform);
  if (!descriptor.artifact_type.empty()) json["artifactType"] = descriptor.artifact_type;
  return json;
}

}  // namespace lazypull
