#include "tools/progress_view.hpp"

#include "tools/text.hpp"

#include <algorithm>
#include <cmath>

namespace lazypull {
namespace {

/// Positions of the columns of a layer's line.
struct Layout {
  static constexpr std::size_t state = 11;  // "downloading"
  static constexpr std::size_t bytes = 21;  // "1023.9 MiB/1023.9 MiB"
  static constexpr std::size_t rate = 12;   // "1023.9 MiB/s"
  static constexpr std::size_t longest_bar = 42;
  static constexpr std::size_t shortest_bar = 10;

  explicit Layout(std::size_t columns) : width(columns) {
    wide = width >= 12 + 1 + state + 1 + bytes + 1 + rate;
    const std::size_t taken = 12 + 1 + state + 1 + bytes + 1 + rate;
    if (wide && width > taken + shortest_bar) bar = std::min(longest_bar, width - taken - 1);
  }

  std::size_t width;
  bool wide = false;
  std::size_t bar = 0;
};

std::string pad_right(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

std::string pad_left(const std::string& text, std::size_t width) {
  return std::string(width - std::min(width, text.size()), ' ') + text;
}

/// Cuts at a byte: all texts here are ASCII but for a platform, which `printable` has passed.
std::string fit(std::string text, std::size_t width) {
  if (text.size() > width) text.resize(width);
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

std::string state_word(const LayerReport& layer) {
  if (layer.state != LayerState::done) return std::string(to_string(layer.state));
  switch (layer.decision) {
    case LayerDecision::exists:
    case LayerDecision::remote:
    case LayerDecision::staged:
      return std::string(to_string(layer.decision));
    default:
      return "done";
  }
}

bool shows_progress(const LayerReport& layer) {
  return layer.state == LayerState::downloading || (layer.bytes_done > 0 && layer.bytes_done < layer.size);
}

double fraction(const LayerReport& layer) {
  if (layer.size == 0) return 0;
  return std::min(1.0, static_cast<double>(layer.bytes_done) / static_cast<double>(layer.size));
}

std::string bar(const LayerReport& layer, std::size_t width) {
  if (!shows_progress(layer)) return std::string(width, ' ');
  const std::size_t inner = width - 2;
  const auto filled = static_cast<std::size_t>(fraction(layer) * static_cast<double>(inner));
  std::string text(inner, ' ');
  std::fill_n(text.begin(), filled, '=');
  if (filled < inner) text[filled] = '>';
  return "[" + text + "]";
}

std::string rate_text(double bytes_a_second) {
  return format_bytes(static_cast<std::uint64_t>(std::llround(bytes_a_second))) + "/s";
}

std::string layer_line(const LayerReport& layer, const Rates& rates, const Layout& layout) {
  std::string line = short_digest(layer.digest) + " " + pad_right(state_word(layer), Layout::state) + " ";
  if (!layout.wide) {
    const bool moving = shows_progress(layer);
    const auto percent = std::to_string(static_cast<int>(fraction(layer) * 100)) + "%";
    line += pad_left(moving ? percent : "", 4) + " " + format_bytes(layer.size);
    return fit(std::move(line), layout.width);
  }
  if (layout.bar > 0) line += bar(layer, layout.bar) + " ";
  std::string bytes = format_bytes(layer.size);
  if (shows_progress(layer)) bytes = format_bytes(layer.bytes_done) + "/" + bytes;
  line += pad_left(bytes, Layout::bytes);
  if (layer.state == LayerState::downloading)
    line += " " + pad_left(rate_text(rates.of(layer)), Layout::rate);
  return fit(std::move(line), layout.width);
}

enum class Interest { active, waiting, ended };

Interest interest(const LayerReport& layer) {
  switch (layer.state) {
    case LayerState::done:
      return Interest::ended;
    case LayerState::waiting:
    case LayerState::queued:
      return Interest::waiting;
    default:
      return Interest::active;
  }
}

struct LayerCounts {
  std::size_t active = 0;
  std::size_t waiting = 0;
  std::size_t ended = 0;
  std::size_t all() const { return active + waiting + ended; }
};

LayerCounts count_layers(const PullReport& report) {
  LayerCounts counts;
  for (const auto& image : report.images) {
    for (const auto& layer : image.layers) {
      switch (interest(layer)) {
        case Interest::active:
          ++counts.active;
          break;
        case Interest::waiting:
          ++counts.waiting;
          break;
        case Interest::ended:
          ++counts.ended;
          break;
      }
    }
  }
  return counts;
}

/// How many of `count` layers get a line of their own of `room` lines; the rest need one for them all.
std::size_t own_lines(std::size_t count, std::size_t room) {
  if (count <= room) return count;
  return room > 0 ? room - 1 : 0;
}

/// How many layers of each kind have a line of their own; the others of a kind share one line. The active
/// ones choose first, but leave the others their shared lines.
LayerCounts choose_lines(const LayerCounts& counts, std::size_t room) {
  LayerCounts shown;
  const auto take = [&](std::size_t count, std::size_t reserved) {
    const std::size_t own = own_lines(count, room - std::min(room, reserved));
    room -= std::min(room, own + (own < count ? 1U : 0U));
    return own;
  };
  const std::size_t for_ended = counts.ended > 0 ? 1 : 0;
  const std::size_t for_waiting = counts.waiting > 0 ? 1 : 0;
  shown.active = take(counts.active, for_ended + for_waiting);
  shown.waiting = take(counts.waiting, for_ended);
  shown.ended = take(counts.ended, 0);
  return shown;
}

void add_shared_lines(std::vector<std::string>& lines, const LayerCounts& counts, const LayerCounts& shown) {
  const auto add = [&](std::size_t all, std::size_t own, std::string_view what) {
    if (all > own)
      lines.push_back("... " + std::to_string(all - own) + (own > 0 ? " more " : " ") + std::string(what));
  };
  add(counts.ended, shown.ended, "done");
  add(counts.active, shown.active, "in progress");
  add(counts.waiting, shown.waiting, "waiting");
}

std::vector<std::string> layer_lines(const PullReport& report, const Rates& rates, const Layout& layout,
                                     std::size_t room) {
  const auto counts = count_layers(report);
  const auto shown = choose_lines(counts, room);
  LayerCounts left = shown;
  // Of those that ended, the last ones are shown: they are the news.
  std::size_t skip_ended = counts.ended - shown.ended;
  std::vector<std::string> lines;
  const auto take_one = [](std::size_t& from) {
    if (from == 0) return false;
    --from;
    return true;
  };
  const auto takes = [&](const LayerReport& layer) {
    switch (interest(layer)) {
      case Interest::active:
        return take_one(left.active);
      case Interest::waiting:
        return take_one(left.waiting);
      case Interest::ended:
        return !take_one(skip_ended);
    }
    return false;
  };
  for (const auto& image : report.images) {
    for (const auto& layer : image.layers) {
      if (takes(layer)) lines.push_back(layer_line(layer, rates, layout));
    }
  }
  add_shared_lines(lines, counts, shown);
  if (lines.size() > room) lines.resize(room);
  return lines;
}

std::string heading(const PullReport& report) {
  std::string text = report.reference;
  if (!report.phase.empty()) text += ": " + report.phase;
  return text;
}

std::string sums(const PullReport& report, const Rates& rates, std::chrono::nanoseconds elapsed,
                 std::size_t width) {
  const auto counts = count_layers(report);
  const std::string layers = std::to_string(counts.ended) + "/" + std::to_string(counts.all()) + " layers";
  const std::string fetched = format_bytes(report.fetched_bytes()) + " fetched";
  const std::string avoided = format_bytes(report.avoided_bytes()) + " avoided";
  const std::string rate = rate_text(rates.total());
  // What matters most comes first, as a narrow screen shows only as many as fit whole.
  std::string text = format_duration(elapsed);
  for (const auto& part : {layers, fetched, avoided, rate}) {
    if (text.size() + 2 + part.size() > width) break;
    text += "  " + part;
  }
  return text;
}

}  // namespace

void Rates::sample(const PullReport& report, Clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - last_).count();
  const bool first = last_ == Clock::time_point{};
  last_ = now;
  // Old values fade with a time constant of a second, however often samples are taken.
  const double weight = 1 - std::exp(-seconds);
  for (const auto& image : report.images) {
    for (const auto& layer : image.layers) {
      const auto [found, is_new] = entries_.try_emplace(&layer, Entry{layer.bytes_fetched, 0});
      auto& entry = found->second;
      if (is_new || first || seconds <= 0) continue;
      const auto come = layer.bytes_fetched - std::min(layer.bytes_fetched, entry.bytes);
      const double rate = static_cast<double>(come) / seconds;
      // The first bytes set the rate, so that it does not have to climb from nothing.
      entry.rate = entry.bytes == 0 ? rate : entry.rate + weight * (rate - entry.rate);
      if (layer.state == LayerState::done) entry.rate = 0;
      entry.bytes = layer.bytes_fetched;
    }
  }
}

double Rates::of(const LayerReport& layer) const {
  const auto found = entries_.find(&layer);
  return found == entries_.end() ? 0 : found->second.rate;
}

double Rates::total() const {
  double sum = 0;
  for (const auto& [layer, entry] : entries_) sum += entry.rate;
  return sum;
}

std::vector<std::string> render_progress(const PullReport& report, const Rates& rates, Screen screen,
                                         std::chrono::nanoseconds elapsed) {
  // A line that fills the last column makes some terminals wrap.
  const auto width = static_cast<std::size_t>(std::max(screen.columns, 2) - 1);
  const auto rows = static_cast<std::size_t>(std::max(screen.rows, 3) - 1);
  const Layout layout(width);
  std::vector<std::string> lines{fit(heading(report), width)};
  for (auto& line : layer_lines(report, rates, layout, rows - 2))
    lines.push_back(fit(std::move(line), width));
  lines.push_back(fit(sums(report, rates, elapsed, width), width));
  return lines;
}

std::vector<std::string> PlainProgress::update(const PullReport& report) {
  std::vector<std::string> lines;
  if (!resolved_ && !report.target.digest.empty()) {
    resolved_ = true;
    lines.push_back(report.reference + ": resolved to " + report.target.digest.str());
  }
  for (const auto& image : report.images) {
    for (const auto& layer : image.layers) {
      if (layer.state != LayerState::done || !ended_.insert(&layer).second) continue;
      std::string line = "layer " + short_digest(layer.digest) + ": " + state_word(layer);
      if (layer.decision == LayerDecision::download) {
        line += ", " + format_bytes(layer.bytes_fetched) + " in " + format_duration(layer.fetch);
      }
      lines.push_back(std::move(line));
    }
  }
  return lines;
}

}  // namespace lazypull
