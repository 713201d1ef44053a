#include "transport/resolved_manifest.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <span>

namespace lazypull {

namespace json = boost::json;

namespace {

bool is_known(std::string_view type) {
  return media_type::is_manifest(type) || media_type::is_index(type);
}

// Without parameters such as charset.
std::string content_type(const HttpHead& head) {
  const auto value = head.fields.find("Content-Type");
  if (!value) return {};
  return std::string(trim(value->substr(0, value->find(';'))));
}

void refuse_schema1(std::string_view type) {
  if (type == media_type::docker_schema1 || type == media_type::docker_schema1_signed) {
    throw Error(Errc::unsupported, "the image has a Docker schema 1 manifest, which is not supported");
  }
}

std::optional<Digest> content_digest(const HttpHead& head) {
  const auto value = head.fields.find("Docker-Content-Digest");
  if (!value) return std::nullopt;
  return Digest::try_parse(trim(*value));
}

void check_against(const Digest& actual, const Digest& expected, const std::string& who) {
  if (actual == expected) return;
  throw Error(Errc::digest_mismatch,
              "the manifest's digest is " + actual.str() + ", but " + who + " says " + expected.str());
}

Digest hash(std::string_view body, std::string_view algorithm) {
  Hasher hasher(algorithm);
  hasher.update(std::as_bytes(std::span(body)));
  return hasher.finish();
}

std::string type_of_content(std::string_view body, const std::string& declared) {
  boost::system::error_code failure;
  const auto value = json::parse(json::string_view(body.data(), body.size()), failure);
  const auto unknown =
      Error(Errc::unsupported, "\"" + sanitise(declared, 100) + "\" is no image manifest or index");
  if (failure || !value.is_object()) throw unknown;
  const auto& object = value.get_object();
  if (const auto* type = object.if_contains("mediaType"); type != nullptr && type->is_string()) {
    std::string named(type->get_string().data(), type->get_string().size());
    refuse_schema1(named);
    if (!is_known(named)) throw unknown;
    return named;
  }
  if (const auto* version = object.if_contains("schemaVersion"); version != nullptr && version->is_int64()) {
    if (version->get_int64() == 1) refuse_schema1(media_type::docker_schema1);
  }
  if (object.contains("manifests")) return std::string(media_type::oci_index);
  if (object.contains("layers") && object.contains("config")) return std::string(media_type::oci_manifest);
  throw unknown;
}

}  // namespace

Error manifest_too_large(std::uint64_t size, std::uint64_t limit) {
  return {Errc::invalid_image, "the manifest has " + std::to_string(size) +
                                   " bytes, more than the limit of " + std::to_string(limit)};
}

std::optional<Descriptor> descriptor_of_head(const HttpHead& head, const Reference& reference,
                                             std::uint64_t limit) {
  Descriptor descriptor;
  descriptor.media_type = content_type(head);
  refuse_schema1(descriptor.media_type);
  const auto digest = content_digest(head);
  const auto length = head.content_length();
  const auto encoding = head.fields.find("Content-Encoding");
  const bool encoded = encoding && !iequals(trim(*encoding), "identity");
  if (!digest || !length || *length == 0 || encoded || !is_known(descriptor.media_type)) return std::nullopt;
  if (*length > limit) throw manifest_too_large(*length, limit);
  if (reference.digest()) {
    // Another algorithm's digest says nothing about the one that is wanted.
    if (digest->algorithm() != reference.digest()->algorithm()) return std::nullopt;
    check_against(*digest, *reference.digest(), "the reference");
  }
  descriptor.digest = *digest;
  descriptor.size = *length;
  return descriptor;
}

Descriptor descriptor_of_body(const HttpHead& head, std::string_view body, const Reference& reference) {
  const auto encoding = head.fields.find("Content-Encoding");
  if (encoding && !iequals(trim(*encoding), "identity")) {
    throw Error(Errc::bad_response, "the manifest comes with a Content-Encoding, which was not asked for");
  }
  Descriptor descriptor;
  descriptor.media_type = content_type(head);
  refuse_schema1(descriptor.media_type);
  const auto announced = content_digest(head);
  if (announced) check_against(hash(body, announced->algorithm()), *announced, "the registry");
  if (reference.digest()) {
    check_against(hash(body, reference.digest()->algorithm()), *reference.digest(), "the reference");
    descriptor.digest = *reference.digest();
  } else {
    descriptor.digest = announced ? *announced : hash(body, "sha256");
  }
  if (!is_known(descriptor.media_type)) descriptor.media_type = type_of_content(body, descriptor.media_type);
  descriptor.size = body.size();
  return descriptor;
}

}  // namespace lazypull
