#pragma once

#include "engine/descriptor.hpp"
#include "engine/error.hpp"

#include <containerd/types/descriptor.pb.h>
#include <google/protobuf/map.h>

#include <limits>

/// Between our values and containerd's messages. For .cpp files only.
namespace lazypull {

inline Labels labels_of(const google::protobuf::Map<std::string, std::string>& map) {
  return Labels(map.begin(), map.end());
}

inline void set_labels(google::protobuf::Map<std::string, std::string>& map, const Labels& labels) {
  for (const auto& [key, value] : labels) map[key] = value;
}

/// Throws Error{invalid_argument} for a size that the wire cannot carry.
inline std::int64_t to_wire_size(std::uint64_t size, const std::string& of) {
  if (size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    throw Error(Errc::invalid_argument, of + ": a size of " + std::to_string(size) + " bytes");
  }
  return static_cast<std::int64_t>(size);
}

/// Throws Error{bad_response} for a negative size.
inline std::uint64_t from_wire_size(std::int64_t size, const std::string& of) {
  if (size < 0) throw Error(Errc::bad_response, of + ": containerd says " + std::to_string(size) + " bytes");
  return static_cast<std::uint64_t>(size);
}

/// Throws Error{bad_response} for what is no digest.
inline Digest digest_from_wire(const std::string& text, const std::string& of) {
  const auto digest = Digest::try_parse(text);
  if (!digest) throw Error(Errc::bad_response, of + ": containerd's digest \"" + text + "\" is none");
  return *digest;
}

inline void to_wire(const Descriptor& descriptor, ::containerd::types::Descriptor& message) {
  message.set_media_type(descriptor.media_type);
  message.set_digest(descriptor.digest.str());
  message.set_size(to_wire_size(descriptor.size, descriptor.digest.str()));
  set_labels(*message.mutable_annotations(), descriptor.annotations);
}

inline Descriptor from_wire(const ::containerd::types::Descriptor& message, const std::string& of) {
  Descriptor descriptor;
  descriptor.media_type = message.media_type();
  descriptor.digest = digest_from_wire(message.digest(), of);
  descriptor.size = from_wire_size(message.size(), of);
  descriptor.annotations = labels_of(message.annotations());
  return descriptor;
}

}  // namespace lazypull
