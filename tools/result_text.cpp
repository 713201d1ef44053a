#include "tools/result_text.hpp"

#include "tools/text.hpp"

#include <algorithm>
#include <array>
#include <set>

namespace lazypull {
namespace {

/// A decision and how a summary and a plan call it.
struct Wording {
  LayerDecision decision;
  std::string_view done;
  std::string_view planned;
};

constexpr std::array<Wording, 6> wordings{
    {{LayerDecision::remote, "remote", "remote"},
     {LayerDecision::staged, "staged", "staged"},
     {LayerDecision::exists, "existing", "existing"},
     {LayerDecision::present, "from the content store", "in the content store"},
     {LayerDecision::download, "downloaded", "to download"},
     {LayerDecision::undecided, "undecided", "undecided"}}};

std::size_t layer_count(const PullReport& report) {
  std::size_t count = 0;
  for (const auto& image : report.images) count += image.layers.size();
  return count;
}

/// "5 remote, 1 existing, 2 downloaded"
std::string decisions(const PullReport& report, std::string_view Wording::* word) {
  std::string text;
  for (const auto& wording : wordings) {
    std::size_t count = 0;
    for (const auto& image : report.images) {
      for (const auto& layer : image.layers) count += layer.decision == wording.decision ? 1 : 0;
    }
    if (count == 0) continue;
    text += text.empty() ? "" : ", ";
    text += std::to_string(count) + " " + std::string(wording.*word);
  }
  return text;
}

std::string platforms(const PullReport& report) {
  std::string text;
  for (const auto& image : report.images) {
    text += text.empty() ? "" : ", ";
    text += printable(image.platform.str());
  }
  return text;
}

/// Compressed bytes of the distinct layers that are to be downloaded.
std::uint64_t bytes_to_download(const PullReport& report) {
  std::set<Digest> seen;
  std::uint64_t sum = 0;
  for (const auto& image : report.images) {
    for (const auto& layer : image.layers) {
      if (layer.decision == LayerDecision::download && seen.insert(layer.digest).second) sum += layer.size;
    }
  }
  return sum;
}

std::string pad_left(const std::string& text, std::size_t width) {
  return std::string(width - std::min(width, text.size()), ' ') + text;
}

std::string pad_right(const std::string& text, std::size_t width) {
  return text + std::string(width - std::min(width, text.size()), ' ');
}

std::string plan_word(const LayerReport& layer) {
  std::string word(to_string(layer.decision));
  if (layer.decision == LayerDecision::download && layer.remote_hint) word += " (may be mounted)";
  return word;
}

std::string image_table(const ImageReport& image) {
  constexpr std::size_t digest_width = 71;
  std::string text = printable(image.platform.str()) + " " + image.manifest.str() + "\n";
  text += pad_right("LAYER", digest_width) + "  " + pad_left("SIZE", 10) + "  DECISION\n";
  for (const auto& layer : image.layers) {
    text += pad_right(layer.digest.str(), digest_width) + "  " + pad_left(format_bytes(layer.size), 10) +
            "  " + plan_word(layer) + "\n";
  }
  return text;
}

}  // namespace

std::string summary(const PullReport& report, std::string_view verb) {
  std::string text = std::string(verb) + " " + report.reference + " " + report.target.digest.str();
  if (!report.images.empty()) text += " (" + platforms(report) + ")";
  text += " in " + format_duration(report.total) + ": " + format_count(layer_count(report), "layer");
  const auto counts = decisions(report, &Wording::done);
  if (!counts.empty()) text += ": " + counts;
  text += "; " + format_bytes(report.fetched_bytes()) + " fetched, " + format_bytes(report.avoided_bytes()) +
          " avoided\n";
  return text;
}

std::string plan_table(const PullReport& report) {
  std::string text = report.reference + " " + report.target.digest.str() + "\n";
  for (const auto& image : report.images) text += image_table(image);
  text += "total: " + format_count(layer_count(report), "layer");
  const auto counts = decisions(report, &Wording::planned);
  if (!counts.empty()) text += ": " + counts;
  text += "; " + format_bytes(bytes_to_download(report)) + " to download, " +
          format_bytes(report.avoided_bytes()) + " avoided\n";
  return text;
}

std::string chain_id_lines(const PullReport& report, bool caption) {
  std::string text;
  for (const auto& image : report.images) {
    if (!image.chain_id) continue;
    if (caption) text += "image chain ID: ";
    text += image.chain_id->str() + "\n";
  }
  return text;
}

}  // namespace lazypull
