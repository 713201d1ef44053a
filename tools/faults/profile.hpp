#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// What can be made to go wrong with a response.
enum class FaultKind {
  cut,      ///< the connection is closed after some bytes of the body
  reset,    ///< the same by a reset, once what came before it has left
  corrupt,  ///< one bit of the body is another one
  stall,    ///< no more comes after some bytes of the body, for a while or for ever
  drop,     ///< the connection is closed without a response
  status,   ///< another status than the registry's, which is not asked
  delay,    ///< the response comes later, by up to the duration
  garbage,  ///< the head is not what HTTP allows, or says what no client believes
  length,   ///< Content-Length is another one than the body's
  range,    ///< Content-Range is another one, or missing; only responses with status 206
  whole,    ///< the request's Range is ignored
  chunks,   ///< a chunked body that ends without its last chunk
};

/// Says of some requests what goes wrong with their responses.
struct FaultRule {
  FaultKind kind = FaultKind::cut;
  double probability = 1;                 ///< of each request that the rule is for
  std::string method;                     ///< only requests of this method; empty is any
  std::string path;                       ///< only targets that contain this; empty is any
  std::uint64_t from = 1;                 ///< which request of a URL is the first that it is for
  std::uint64_t times = 0;                ///< how many of a URL; 0 is all that follow
  std::optional<std::uint64_t> at;        ///< byte of the body; else any, by the seed
  std::chrono::milliseconds duration{0};  ///< of a stall, 0 is for ever; the longest of a delay
  int status = 503;
  std::optional<std::chrono::seconds> retry_after;

  friend bool operator==(const FaultRule&, const FaultRule&) = default;
};

/// A network, and what goes wrong in it. The first of the rules that applies to a response is the one that
/// counts; what is said of the network holds for all.
struct FaultProfile {
  std::chrono::milliseconds connect_latency{0};  ///< of each connection, once
  std::chrono::milliseconds latency{0};          ///< of each response
  std::chrono::milliseconds jitter{0};     ///< up to so much more, by the seed: responses overtake each other
  std::uint64_t bandwidth = 0;             ///< bytes of bodies a second, all together; 0 is no limit
  std::uint64_t connection_bandwidth = 0;  ///< the same of one connection
  /// Each connection breaks off after so many bytes of responses in the mean (exponentially distributed),
  /// half of them with a reset; 0 is never. At 1% of the packets of an Ethernet that is about 146000.
  std::uint64_t cut_mean = 0;
  std::vector<FaultRule> rules;

  friend bool operator==(const FaultProfile&, const FaultProfile&) = default;
};

std::string_view to_string(FaultKind kind) noexcept;

/// Reads "KIND[,NAME=VALUE]…", such as "status,code=404,times=1,path=/blobs/" or "stall,at=64k,for=2s". The
/// names are probability, method, path, from, times, at, for, code and retry-after. Throws
/// Error{invalid_argument} that names the part which is wrong.
FaultRule parse_fault_rule(std::string_view text);
/// The shortest text that parse_fault_rule reads as this.
std::string to_string(const FaultRule& rule);

/// Reads a JSON object with the members connectLatency, latency, jitter (durations such as "20ms"),
/// bandwidth, connectionBandwidth, cutMean (sizes such as "10M") and faults (an array of rules as above),
/// each of which may be missing. `what` names the document. Throws Error{bad_response} or {invalid_argument}.
FaultProfile parse_fault_profile(std::string_view json, std::string_view what);
/// What parse_fault_profile reads as this.
std::string to_json(const FaultProfile& profile);

}  // namespace lazypull
