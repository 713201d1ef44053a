#pragma once

#include "engine/digest.hpp"
#include "transport/http_message.hpp"
#include "transport/url.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace lazypull {

/// The last bytes that came of a blob, by which a response that starts anew can be compared with it.
struct BlobTail {
  static constexpr std::size_t longest = 4U << 10U;

  std::uint64_t end = 0;  ///< offset behind the last byte
  std::string bytes;

  void add(std::span<const std::byte> piece);
};

/// What is kept of blobs between the connections over which they come: the strong entity tag of each host
/// (RFC 9110 section 8.8.3), for If-Range, and the last bytes.
class InterruptedBlobs {
 public:
  /// Remembers the ETag of a response if it is a strong one.
  void note_etag(const Origin& host, const Digest& digest, const HttpFields& fields);
  std::optional<std::string> etag(const Origin& host, const Digest& digest) const;

  void broke_off(const Digest& digest, BlobTail tail);
  /// What came before `offset`; empty if that is not known.
  BlobTail tail(const Digest& digest, std::uint64_t offset) const;
  void complete(const Digest& digest);

 private:
  std::map<std::pair<std::string, Origin>, std::string> etags_;  // by digest and host
  std::map<std::string, BlobTail> tails_;                        // by digest
};

/// The ETag of a response where it is a strong one.
std::optional<std::string> strong_etag(const HttpFields& fields);

}  // namespace lazypull
