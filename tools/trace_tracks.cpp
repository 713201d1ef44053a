#include "tools/trace_tracks.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_map>

namespace lazypull {
namespace {

class Tracks {
 public:
  explicit Tracks(const std::vector<SpanRecord>& spans) {
    for (const auto& span : spans) by_id_.emplace(span.id, &span);
  }

  std::size_t place(const SpanRecord& span) {
    const auto track = track_for(span);
    tracks_[track].open.push_back(&span);
    track_of_.emplace(span.id, track);
    return track;
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    names.reserve(tracks_.size());
    for (const auto& track : tracks_) names.push_back(track.name);
    return names;
  }

 private:
  struct Track {
    std::string_view category;
    std::string name;
    std::vector<const SpanRecord*> open;  ///< each within the one before
  };

  /// That of the parent if nothing else is going on there, else one that is free.
  std::size_t track_for(const SpanRecord& span) {
    const auto parents = track_of_.find(span.parent);
    if (parents != track_of_.end() && fits(tracks_[parents->second], span)) return parents->second;
    auto& of_category = by_category_[span.category];
    for (const auto track : of_category) {
      if (fits(tracks_[track], span)) return track;
    }
    const auto number = of_category.size() + 1;
    const auto suffix = number == 1 ? std::string() : " " + std::to_string(number);
    tracks_.push_back({span.category, std::string(span.category) + suffix, {}});
    of_category.push_back(tracks_.size() - 1);
    return tracks_.size() - 1;
  }

  bool fits(Track& track, const SpanRecord& span) const {
    auto& open = track.open;
    while (!open.empty() && open.back()->end <= span.start && !contains(*open.back(), span)) open.pop_back();
    return open.empty() || contains(*open.back(), span);
  }

  bool contains(const SpanRecord& outer, const SpanRecord& inner) const {
    return outer.end >= inner.end && descends_from(inner, outer.id);
  }

  bool descends_from(const SpanRecord& span, SpanId ancestor) const {
    for (auto id = span.parent; id != 0;) {
      if (id == ancestor) return true;
      const auto found = by_id_.find(id);
      // A parent is older than its children, so this ends.
      if (found == by_id_.end() || found->second->parent >= id) return false;
      id = found->second->parent;
    }
    return false;
  }

  std::unordered_map<SpanId, const SpanRecord*> by_id_;
  std::unordered_map<SpanId, std::size_t> track_of_;
  std::map<std::string_view, std::vector<std::size_t>> by_category_;
  std::vector<Track> tracks_;
};

}  // namespace

TrackedSpans put_on_tracks(const std::vector<SpanRecord>& spans) {
  TrackedSpans result;
  for (const auto& span : spans) result.items.push_back({&span, 0});
  std::ranges::sort(result.items, [](const TrackedSpans::Item& a, const TrackedSpans::Item& b) {
    if (a.span->start != b.span->start) return a.span->start < b.span->start;
    if (a.span->end != b.span->end) return a.span->end > b.span->end;
    return a.span->id < b.span->id;
  });
  Tracks tracks(spans);
  for (auto& item : result.items) item.track = tracks.place(*item.span);
  result.tracks = tracks.names();
  return result;
}

}  // namespace lazypull
