#include "tools/faults/record.hpp"

#include "transport/http_message.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace lazypull {
namespace {
constexpr std::size_t max_text = 2048;
}

std::string_view to_string(FaultRecord::End end) noexcept {
  switch (end) {
    case FaultRecord::End::complete:
      return "complete";
    case FaultRecord::End::cut:
      return "cut";
    case FaultRecord::End::client_gone:
      return "clientGone";
    case FaultRecord::End::upstream_failed:
      return "upstreamFailed";
  }
  return "unknown";
}

std::string fault_log_line(const FaultRecord& record) {
  boost::json::object object;
  object["connection"] = record.connection;
  object["method"] = sanitise(record.method, max_text);
  object["target"] = sanitise(record.target, max_text);
  object["number"] = record.number;
  if (!record.range.empty()) object["range"] = sanitise(record.range, max_text);
  object["status"] = record.status;
  if (record.fault) object["fault"] = to_string(*record.fault);
  if (record.at) object["at"] = *record.at;
  if (record.delay.count() > 0) object["delayMs"] = record.delay.count();
  object["bodyBytes"] = record.body_bytes;
  if (record.undelivered > 0) object["undelivered"] = record.undelivered;
  object["end"] = std::string(to_string(record.end));
  if (!record.failure.empty()) object["failure"] = sanitise(record.failure, max_text);
  object["ms"] = record.duration.count();
  return boost::json::serialize(object);
}

std::string fault_log_head(std::string_view upstream, std::uint64_t seed, const FaultProfile& profile) {
  boost::json::object object;
  object["upstream"] = sanitise(upstream, max_text);
  object["seed"] = seed;
  object["profile"] = boost::json::parse(to_json(profile));
  return boost::json::serialize(object);
}

}  // namespace lazypull
