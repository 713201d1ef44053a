#include "tools/prewarm_view.hpp"

#include "tools/text.hpp"

#include <algorithm>
#include <cmath>

namespace lazypull {
namespace {

std::string fit(std::string text, std::size_t width) {
  if (text.size() > width) text.resize(width);
  return text;
}

std::uint64_t fetched_so_far(const PrewarmReport& report) {
  std::uint64_t sum = report.fetched_bytes;
  for (const auto index : report.running) {
    const auto& image = report.images[index];
    if (image.report) sum += image.report->fetched_bytes() + image.report->metadata_bytes;
  }
  return sum;
}

std::string totals(const PrewarmReport& report, const PrewarmRate& rate, std::chrono::nanoseconds elapsed,
                   std::size_t width) {
  std::string text = std::to_string(report.ready) + "/" + format_count(report.images.size(), "image");
  std::vector<std::string> parts;
  if (report.failed > 0) parts.push_back(std::to_string(report.failed) + " failed");
  parts.push_back(format_duration(elapsed));
  parts.push_back(format_bytes(fetched_so_far(report)) + " fetched");
  parts.push_back(format_bytes(static_cast<std::uint64_t>(std::llround(rate.bytes_a_second()))) + "/s");
  parts.push_back(std::to_string(report.running.size()) + " in progress");
  // What matters most comes first, as a narrow screen shows only as many as fit whole.
  for (const auto& part : parts) {
    if (text.size() + 2 + part.size() > width) break;
    text += "  " + part;
  }
  return text;
}

std::string image_line(const PrewarmImage& image, std::size_t width) {
  const auto& report = *image.report;
  std::size_t layers = 0;
  std::size_t done = 0;
  std::uint64_t size = 0;
  std::uint64_t have = 0;
  for (const auto& one : report.images) {
    layers += one.layers.size();
    for (const auto& layer : one.layers) {
      const bool ended = layer.state == LayerState::done;
      done += ended ? 1 : 0;
      size += layer.size;
      have += ended ? layer.size : std::min(layer.bytes_done, layer.size);
    }
  }
  std::string state = "  " + (report.phase.empty() ? "resolve" : report.phase);
  if (layers > 0) {
    state += " " + std::to_string(done) + "/" + std::to_string(layers) + "  " + format_bytes(have) + "/" +
             format_bytes(size);
  }
  // The end of a reference tells more than its beginning.
  std::string name = image.item.reference.name();
  const std::size_t room = width - std::min(width, state.size());
  if (name.size() > room && room > 3) name = "..." + name.substr(name.size() - (room - 3));
  return fit(name + state, width);
}

std::string ended_line(const PrewarmImage& image) {
  const std::string name = image.item.reference.name();
  if (image.state == PrewarmState::failed) return name + ": failed: " + printable(image.failure->message());
  if (image.state == PrewarmState::stopped) return name + ": stopped";
  return name + ": ready, " + std::to_string(image.downloaded_layers) + " of " +
         format_count(image.layers, "layer") + " downloaded, " + format_bytes(image.fetched_bytes) + " in " +
         format_duration(image.duration);
}

}  // namespace

void PrewarmRate::sample(const PrewarmReport& report, Rates::Clock::time_point now) {
  const auto bytes = fetched_so_far(report);
  const double seconds = std::chrono::duration<double>(now - last_).count();
  const bool first = last_ == Rates::Clock::time_point{};
  const auto come = bytes - std::min(bytes, bytes_);
  last_ = now;
  bytes_ = bytes;
  if (first || seconds <= 0) return;
  // Old values fade with a time constant of a second, however often samples are taken.
  rate_ += (1 - std::exp(-seconds)) * (static_cast<double>(come) / seconds - rate_);
}

std::vector<std::string> render_prewarm(const PrewarmReport& report, const PrewarmRate& rate, Screen screen,
                                        std::chrono::nanoseconds elapsed) {
  // A line that fills the last column makes some terminals wrap.
  const auto width = static_cast<std::size_t>(std::max(screen.columns, 2) - 1);
  const auto rows = static_cast<std::size_t>(std::max(screen.rows, 3) - 1);
  std::vector<std::string> lines{fit(totals(report, rate, elapsed, width), width)};
  const std::size_t room = rows - 1;
  const std::size_t count = report.running.size();
  const std::size_t shown = count <= room ? count : room - 1;
  for (const auto index : report.running) {
    if (lines.size() > shown) break;
    lines.push_back(image_line(report.images[index], width));
  }
  if (count > shown)
    lines.push_back(fit("... " + std::to_string(count - shown) + " more in progress", width));
  return lines;
}

std::vector<std::string> PlainPrewarm::update(const PrewarmReport& report) {
  std::vector<std::string> lines;
  told_.resize(report.images.size());
  for (std::size_t i = 0; i < told_.size(); ++i) {
    const auto& image = report.images[i];
    const bool ended = image.state != PrewarmState::waiting && image.state != PrewarmState::running;
    if (!ended || told_[i]) continue;
    told_[i] = true;
    lines.push_back("[" + std::to_string(++count_) + "/" + std::to_string(told_.size()) + "] " +
                    ended_line(image));
  }
  return lines;
}

}  // namespace lazypull
