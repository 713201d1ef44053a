#pragma once

#include "transport/http_message.hpp"
#include "transport/registry_server_layout.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace lazypull {

/// A request as far as the embedded registry looks at it.
struct ServedRequest {
  std::string method;
  std::string target;  ///< path and query, as they came
  HttpFields fields;
  int version = 11;  ///< of HTTP: 10 or 11
  bool keep_alive = true;
  bool has_body = false;

  std::string_view field(std::string_view name) const noexcept { return fields.find(name).value_or(""); }
};

/// What to answer; Content-Length, Date and Connection are added when it is sent.
struct ServedResponse {
  int status = 200;
  HttpFields fields;
  std::string text;         ///< the body, unless it is a part of the blob
  std::uint64_t first = 0;  ///< where that part begins
  /// How many bytes of the blob follow, or, for HEAD, would follow.
  std::optional<std::uint64_t> blob_bytes = {};
  bool close = false;  ///< the connection cannot be used any further
};

/// A manifest or blob that was asked for and may or may not be there.
struct WantedBlob {
  Digest digest;
  std::string media_type;
  bool is_manifest = false;
};

/// The pull part of distribution-spec: what a request is for. Errors are answers as well, in the
/// specification's JSON.
std::variant<ServedResponse, WantedBlob> route(const ServedLayouts& layouts, const ServedRequest& request);

/// Answers with a blob of `size` bytes, as a whole or in part (RFC 9110: Range, If-Range, If-None-Match).
ServedResponse answer_blob(const ServedRequest& request, const WantedBlob& wanted, std::uint64_t size);

/// No layout has it.
ServedResponse answer_missing(const WantedBlob& wanted);

/// An error as the specification wants it: {"errors": [{"code": …, "message": …}]}.
ServedResponse answer_error(int status, std::string_view code, std::string_view message);

}  // namespace lazypull
