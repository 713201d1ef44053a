#include "tools/result_json.hpp"

#include "tools/text.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <cmath>

namespace lazypull {
namespace {

namespace json = boost::json;

double milliseconds(std::chrono::nanoseconds duration) {
  return std::round(std::chrono::duration<double, std::micro>(duration).count()) / 1000;
}

json::value digest_or_null(const Digest& digest) {
  if (digest.empty()) return nullptr;
  return json::value(digest.str());
}

json::object layer_json(const LayerReport& layer) {
  return {{"digest", layer.digest.str()},
          {"diffID", digest_or_null(layer.diff_id)},
          {"chainID", digest_or_null(layer.chain_id)},
          {"mediaType", printable(layer.media_type)},
          {"size", layer.size},
          {"decision", to_string(layer.decision)},
          {"remoteHint", layer.remote_hint},
          {"bytesFetched", layer.bytes_fetched},
          {"askMs", milliseconds(layer.ask)},
          {"queueMs", milliseconds(layer.queue)},
          {"fetchMs", milliseconds(layer.fetch)},
          {"unpackMs", milliseconds(layer.unpack)}};
}

json::object image_json(const ImageReport& image) {
  json::array layers;
  for (const auto& layer : image.layers) layers.push_back(layer_json(layer));
  return {{"platform", printable(image.platform.str())},
          {"manifest", digest_or_null(image.manifest)},
          {"config", digest_or_null(image.config)},
          {"chainID", digest_or_null(image.chain_id.value_or(Digest()))},
          {"alreadyThere", image.already_there},
          {"layers", std::move(layers)}};
}

json::object totals_json(const PullReport& report) {
  std::uint64_t layers = 0;
  std::uint64_t size = 0;
  for (const auto& image : report.images) {
    layers += image.layers.size();
    for (const auto& layer : image.layers) size += layer.size;
  }
  return {{"layers", layers},
          {"size", size},
          {"fetchedBytes", report.fetched_bytes()},
          {"avoidedBytes", report.avoided_bytes()},
          {"metadataBytes", report.metadata_bytes}};
}

std::string line(const json::object& object) {
  return json::serialize(object) + "\n";
}

}  // namespace

std::string result_json(const PullReport& report) {
  json::array images;
  json::array platforms;
  for (const auto& image : report.images) {
    platforms.push_back(json::value(printable(image.platform.str())));
    images.push_back(image_json(image));
  }
  json::object phases;
  for (const auto& phase : report.phases) phases[phase.name] = milliseconds(phase.duration);
  const json::object target{{"digest", digest_or_null(report.target.digest)},
                            {"mediaType", printable(report.target.media_type)},
                            {"size", report.target.size}};
  return line({{"reference", report.reference},
               {"target", target},
               {"platforms", std::move(platforms)},
               {"snapshotter", report.snapshotter},
               {"images", std::move(images)},
               {"totals", totals_json(report)},
               {"phases", std::move(phases)},
               {"totalMs", milliseconds(report.total)}});
}

std::string error_json(std::string_view code, std::string_view message) {
  const json::object error{{"code", code}, {"message", printable(message)}};
  return line({{"error", error}});
}

std::string version_json(std::string_view client, std::string_view server_version,
                         std::string_view server_revision) {
  const json::object own{{"version", client}};
  const json::object server{{"version", printable(server_version)}, {"revision", printable(server_revision)}};
  return line({{"client", own}, {"server", server}});
}

}  // namespace lazypull
