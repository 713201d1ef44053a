#include "tools/prewarm_yaml.hpp"

#include "tools/prewarm_list.hpp"
#include "tools/text.hpp"

#include <optional>
#include <sstream>
#include <utility>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

namespace lazypull {
namespace {

constexpr std::size_t most_images = 100'000;
constexpr std::size_t most_platforms = 64;
constexpr std::size_t longest_word = 4096;
constexpr std::size_t deepest = 32;

/// What a mapping of settings says.
struct Settings {
  std::optional<Reference> reference;
  std::optional<std::vector<Platform>> platforms;
  std::optional<int> priority;
};

/// Takes the document as the parser comes to it, so that it is never held as a tree, and so that nothing is
/// nested deeper than it may be: what is not expected at its place ends the parsing.
class ListHandler final : public YAML::EventHandler {
 public:
  explicit ListHandler(const std::string& name) : name_(name) {}

  std::vector<PrewarmItem> take() {
    if (!images_there_) throw Error(Errc::invalid_argument, name_ + ": 'images' is missing");
    std::vector<PrewarmItem> items;
    items.reserve(images_.size());
    for (auto& image : images_) {
      auto& platforms = image.platforms ? image.platforms : defaults_.platforms;
      items.push_back({std::move(*image.reference), platforms.value_or(std::vector<Platform>()),
                       image.priority.value_or(defaults_.priority.value_or(0))});
    }
    return items;
  }

  /// Also what the parser itself complains of.
  [[noreturn]] void refuse(const YAML::Mark& mark, const std::string& message) const {
    throw Error(Errc::invalid_argument, name_ + ":" + std::to_string(mark.line + 1) + ": " + message);
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (std::exchange(began_, true)) refuse(mark, "there is a second document");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    no_anchor(mark, anchor);
    refuse(mark, in_map() && key_.empty() ? "a key is missing" : where() + "has no value");
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    refuse(mark, "aliases are not understood");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    plain(mark, tag, anchor);
    if (value.size() > longest_word) refuse(mark, where() + "is too long");
    if (in_map() && key_.empty()) {
      take_key(mark, value);
    } else {
      take_value(mark, value);
    }
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    plain(mark, tag, anchor);
    if (place_ == Place::root && key_ == "images") {
      enter(Place::images);
      images_there_ = true;
    } else if (in_settings() && key_ == "platforms") {
      enter(Place::platforms);
      settings().platforms.emplace();
    } else {
      refuse(mark, where() + "is not to be a list");
    }
  }
  void OnSequenceEnd() override {
    place_ = place_ == Place::platforms ? settings_place_ : Place::root;
    key_.clear();
  }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    plain(mark, tag, anchor);
    if (place_ == Place::document) {
      enter(Place::root);
    } else if (place_ == Place::root && key_ == "defaults") {
      enter_settings(Place::defaults);
    } else if (place_ == Place::images) {
      add_image(mark);
      enter_settings(Place::image);
      image_mark_ = mark;
    } else {
      refuse(mark, where() + "is not to be a mapping");
    }
  }
  void OnMapEnd() override {
    if (place_ == Place::image && !images_.back().reference) refuse(image_mark_, "'reference' is missing");
    place_ = place_ == Place::image ? Place::images : place_ == Place::root ? Place::document : Place::root;
    key_.clear();
  }

 private:
  enum class Place { document, root, defaults, images, image, platforms };

  bool in_settings() const { return place_ == Place::defaults || place_ == Place::image; }
  bool in_map() const { return place_ == Place::root || in_settings(); }
  Settings& settings() { return settings_place_ == Place::image ? images_.back() : defaults_; }
  std::string where() const { return key_.empty() ? std::string("this ") : "'" + key_ + "' "; }

  void enter(Place place) {
    place_ = place;
    if (place != Place::platforms) key_.clear();
  }
  void enter_settings(Place place) {
    enter(place);
    settings_place_ = place;
    seen_platforms_ = false;
  }

  void no_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) const {
    if (anchor != YAML::NullAnchor) refuse(mark, "anchors are not understood");
  }
  /// "?" and "!" are what the parser calls a value without a tag, the latter where it is quoted.
  void plain(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) const {
    no_anchor(mark, anchor);
    if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, "tags are not understood");
  }

  void add_image(const YAML::Mark& mark) {
    if (images_.size() == most_images) refuse(mark, "there are more than 100000 images");
    images_.emplace_back();
  }

  void take_key(const YAML::Mark& mark, const std::string& word) {
    const bool of_root = place_ == Place::root;
    const bool platforms = word == "platform" || word == "platforms";
    const bool known =
        of_root ? word == "defaults" || word == "images"
                : platforms || word == "priority" || (place_ == Place::image && word == "reference");
    if (!known) refuse(mark, "'" + printable(word.substr(0, 64)) + "' is no key here");
    const bool twice = of_root              ? (word == "images" ? images_there_ : defaults_there_)
                       : platforms          ? seen_platforms_
                       : word == "priority" ? settings().priority.has_value()
                                            : settings().reference.has_value();
    if (twice) refuse(mark, "'" + word + "' is there twice");
    if (platforms) seen_platforms_ = true;
    if (of_root && word == "defaults") defaults_there_ = true;
    key_ = platforms ? "platforms" : word;
  }

  void take_value(const YAML::Mark& mark, const std::string& value) {
    try {
      if (place_ == Place::images) {
        add_image(mark);
        images_.back().reference = Reference::parse(value);
      } else if (place_ == Place::platforms) {
        add_platform(value);
        return;
      } else if (in_settings()) {
        take_setting(value);
      } else {
        refuse(mark, place_ == Place::document ? "is no mapping" : where() + "is not to be a single value");
      }
    } catch (const Error& error) {
      if (error.message().starts_with(name_ + ":")) throw;
      refuse(mark, error.message());
    }
    key_.clear();
  }

  void take_setting(const std::string& value) {
    if (key_ == "reference") {
      settings().reference = Reference::parse(value);
    } else if (key_ == "priority") {
      settings().priority = parse_prewarm_priority(value);
    } else {
      settings().platforms.emplace();
      add_platform(value);
    }
  }

  void add_platform(const std::string& value) {
    auto& platforms = *settings().platforms;
    if (platforms.size() == most_platforms)
      throw Error(Errc::invalid_argument, "there are more than 64 platforms");
    auto platform = Platform::parse(value);
    for (const auto& known : platforms) {
      if (known == platform) return;
    }
    platforms.push_back(std::move(platform));
  }

  const std::string& name_;
  Place place_ = Place::document;
  Place settings_place_ = Place::defaults;  ///< whose settings `settings` are
  std::string key_;                         ///< whose value comes next
  bool began_ = false;
  bool defaults_there_ = false;
  bool images_there_ = false;
  bool seen_platforms_ = false;
  YAML::Mark image_mark_;
  Settings defaults_;
  std::vector<Settings> images_;
};

/// The parser looks for the end of a bracket before it tells of its beginning, and needs much memory for many
/// that are open. So it does not get to see them.
void refuse_deep_nesting(std::string_view text, const std::string& name) {
  std::size_t depth = 0;
  std::size_t line = 1;
  char before = '\n';
  bool comment = false;
  for (const char c : text) {
    const bool begins_word = before == '\n' || before == ' ' || before == '\t';
    comment = c != '\n' && (comment || (c == '#' && begins_word));
    before = c;
    if (c == '\n') ++line;
    if (comment) continue;
    if (c == '[' || c == '{') ++depth;
    if ((c == ']' || c == '}') && depth > 0) --depth;
    if (depth <= deepest) continue;
    throw Error(Errc::invalid_argument, name + ":" + std::to_string(line) + ": is nested too deeply");
  }
}

}  // namespace

std::vector<PrewarmItem> parse_prewarm_yaml(std::string_view text, const std::string& name) {
  refuse_deep_nesting(text, name);
  ListHandler handler(name);
  std::istringstream stream{std::string(text)};
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(handler)) {
    }
  } catch (const YAML::Exception& failure) {
    handler.refuse(failure.mark, printable(failure.msg));
  }
  return handler.take();
}

}  // namespace lazypull
