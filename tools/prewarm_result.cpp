#include "tools/prewarm_result.hpp"

#include "tools/text.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>

namespace lazypull {
namespace {

namespace json = boost::json;

constexpr int of_failures = 10;
constexpr std::size_t most_counted = 100;

double milliseconds(std::chrono::nanoseconds duration) {
  return std::round(std::chrono::duration<double, std::micro>(duration).count()) / 1000;
}

std::string code_name(Errc code) {
  std::string name(to_string(code));
  for (auto& c : name) c = c == ' ' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

json::value error_json(const std::optional<Error>& error) {
  if (!error) return nullptr;
  return json::object{{"code", code_name(error->code())}, {"message", printable(error->message())}};
}

json::object image_json(const PrewarmImage& image) {
  json::array platforms;
  for (const auto& platform : image.item.platforms)
    platforms.push_back(json::value(printable(platform.str())));
  json::value digest;
  if (!image.digest.empty()) digest = json::value(image.digest.str());
  return {{"reference", image.item.reference.name()},
          {"platforms", std::move(platforms)},
          {"priority", image.item.priority},
          {"state", to_string(image.state)},
          {"error", error_json(image.failure)},
          {"digest", std::move(digest)},
          {"layers", image.layers},
          {"downloadedLayers", image.downloaded_layers},
          {"fetchedBytes", image.fetched_bytes},
          {"avoidedBytes", image.avoided_bytes},
          {"totalMs", milliseconds(image.duration)}};
}

json::object plan_json(const PrewarmResult& result) {
  json::array disks;
  for (const auto& disk : result.disks) {
    disks.push_back(json::object{{"folder", printable(disk.disk.folder)},
                                 {"free", disk.disk.free},
                                 {"usable", disk.usable},
                                 {"needed", disk.needed},
                                 {"fits", disk.fits()}});
  }
  const auto& plan = result.plan;
  return {{"blobsToDownload", plan.blobs_to_download()}, {"bytesToDownload", plan.bytes_to_download()},
          {"bytesUnshared", plan.bytes_unshared()},      {"layersToUnpack", plan.layers_to_unpack()},
          {"bytesToUnpack", plan.bytes_to_unpack()},     {"disks", std::move(disks)}};
}

std::size_t not_done(const PrewarmReport& report) {
  return report.images.size() - report.ready - report.failed;
}

std::string pad(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

std::string pad_left(const std::string& text, std::size_t width) {
  return std::string(width - std::min(width, text.size()), ' ') + text;
}

std::string table(const PrewarmReport& report) {
  std::size_t width = 5;
  for (const auto& image : report.images) width = std::max(width, image.item.reference.name().size());
  std::string text = pad("IMAGE", width) + "  STATE    LAYERS  DOWNLOADED     FETCHED        TIME\n";
  for (const auto& image : report.images) {
    text += pad(image.item.reference.name(), width) + "  " + pad(std::string(to_string(image.state)), 7) +
            "  " + pad_left(std::to_string(image.layers), 6) + "  " +
            pad_left(std::to_string(image.downloaded_layers), 10) + "  " +
            pad_left(format_bytes(image.fetched_bytes), 10) + "  " +
            pad_left(format_duration(image.duration), 10) + "\n";
  }
  return text;
}

std::string plan_table(const PrewarmReport& report) {
  std::size_t width = 5;
  for (const auto& image : report.images) width = std::max(width, image.item.reference.name().size());
  std::string text = pad("IMAGE", width) + "  LAYERS  ALREADY THERE\n";
  for (const auto& image : report.images) {
    if (image.state != PrewarmState::ready) continue;
    text += pad(image.item.reference.name(), width) + "  " + pad_left(std::to_string(image.layers), 6) +
            "  " + pad_left(format_bytes(image.avoided_bytes), 13) + "\n";
  }
  return text;
}

std::string failures(const PrewarmReport& report) {
  std::string text;
  for (const auto& image : report.images) {
    if (image.failure) text += "failed: " + printable(image.failure->message()) + "\n";
  }
  if (report.stopped) text += "stopped: " + printable(report.stopped->message()) + "\n";
  return text;
}

std::string plan_sums(const PrewarmResult& result) {
  const auto& plan = result.plan;
  std::string text = "total: " + format_count(plan.blobs_to_download(), "blob") + " to download, " +
                     format_bytes(plan.bytes_to_download()) + "; " +
                     format_count(plan.layers_to_unpack(), "layer") + " to unpack, about " +
                     format_bytes(plan.bytes_to_unpack()) + "\n";
  for (const auto& disk : result.disks) {
    text += "disk of " + printable(disk.disk.folder) + ": about " + format_bytes(disk.needed) + " needed, " +
            format_bytes(disk.usable) + " usable" + (disk.fits() ? "\n" : ": TOO LITTLE\n");
  }
  return text;
}

std::string sums(const PrewarmResult& result) {
  const auto& report = result.report;
  std::string text = std::to_string(report.ready) + " of " + format_count(report.images.size(), "image") +
                     " ready in " + format_duration(report.duration);
  if (report.failed > 0) text += ", " + std::to_string(report.failed) + " failed";
  if (not_done(report) > 0) text += ", " + std::to_string(not_done(report)) + " not done";
  if (result.past_deadline) text += " (--deadline passed)";
  return text + "; " + format_bytes(report.fetched_bytes) + " fetched, " +
         format_bytes(report.avoided_bytes) + " avoided\n";
}

}  // namespace

int prewarm_exit_code(const PrewarmResult& result) {
  const auto& report = result.report;
  const bool full = report.stopped && report.stopped->code() == Errc::out_of_space;
  const bool no_room =
      std::ranges::any_of(result.disks, [](const SpacePreflight& disk) { return !disk.fits(); });
  if (full) return static_cast<int>(ExitCode::out_of_space);
  if (result.past_deadline) return static_cast<int>(ExitCode::timed_out);
  if (report.failed > 0) return of_failures + static_cast<int>(std::min(report.failed, most_counted));
  if (no_room) return static_cast<int>(ExitCode::out_of_space);
  return static_cast<int>(not_done(report) > 0 ? ExitCode::failure : ExitCode::ok);
}

std::string prewarm_text(const PrewarmResult& result) {
  if (result.dry_run) return plan_table(result.report) + failures(result.report) + plan_sums(result);
  return table(result.report) + failures(result.report) + sums(result);
}

std::string prewarm_json(const PrewarmResult& result) {
  const auto& report = result.report;
  json::array images;
  for (const auto& image : report.images) images.push_back(image_json(image));
  json::object totals{{"images", report.images.size()},
                      {"ready", report.ready},
                      {"failed", report.failed},
                      {"notDone", not_done(report)},
                      {"fetchedBytes", report.fetched_bytes},
                      {"avoidedBytes", report.avoided_bytes}};
  json::object object{{"images", std::move(images)},
                      {"totals", std::move(totals)},
                      {"stopped", error_json(report.stopped)},
                      {"pastDeadline", result.past_deadline},
                      {"totalMs", milliseconds(report.duration)}};
  if (result.dry_run) object["plan"] = plan_json(result);
  return json::serialize(object) + "\n";
}

}  // namespace lazypull
