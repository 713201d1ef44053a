#include "tools/agent/cri_images.hpp"

#include "engine/chain_id.hpp"
#include "engine/error.hpp"
#include "engine/manifest.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <charconv>
#include <exception>
#include <utility>

namespace lazypull {
namespace {

namespace json = boost::json;

/// `config.User` of a config that has been parsed as one before.
std::string user_of(const std::string& config) {
  boost::system::error_code failure;
  const auto value = json::parse(config, failure);
  if (failure || !value.is_object()) return {};
  const auto* inner = value.get_object().if_contains("config");
  if (inner == nullptr || !inner->is_object()) return {};
  const auto* user = inner->get_object().if_contains("User");
  if (user == nullptr || !user->is_string()) return {};
  return {user->get_string().data(), user->get_string().size()};
}

/// Nothing for ids, and for names that whoever made the record did not mean for a CRI client.
std::optional<Reference> reference_of(const std::string& name) {
  if (Digest::try_parse(name)) return std::nullopt;
  try {
    return Reference::parse(name);
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// What one record says about how its image is called. Ids and names that are none say nothing.
void add_name(CriImage& image, const ImageRecord& record) {
  image.names.push_back(record.name);
  const auto pinned = record.labels.find(std::string(cri_label::pinned));
  if (pinned != record.labels.end() && pinned->second == cri_label::pinned_value) image.pinned = true;
  const auto reference = reference_of(record.name);
  if (!reference) return;
  if (reference->digest()) {
    image.repo_digests.push_back(reference->name());
  } else if (reference->tag()) {
    image.repo_tags.push_back(reference->name());
  }
}

bool is_hex(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

/// The image whose id begins so; null if none does.
const CriImage* find_by_prefix(const std::vector<CriImage>& images, std::string_view text) {
  constexpr std::string_view algorithm = "sha256:";
  const auto hex = text.starts_with(algorithm) ? text.substr(algorithm.size()) : text;
  if (!is_hex(hex)) return nullptr;
  const CriImage* found = nullptr;
  for (const auto& image : images) {
    if (!image.details->id.hex().starts_with(hex)) continue;
    if (found != nullptr) {
      throw Error(Errc::invalid_argument, "image \"" + std::string(text) + "\": several ids begin with it");
    }
    found = &image;
  }
  return found;
}

}  // namespace

CriUser cri_user(std::string_view user) {
  user = user.substr(0, user.find(':'));
  CriUser result;
  if (user.empty()) return result;
  // As Go's ParseInt, which takes a sign.
  std::string digits(user);
  if (digits.starts_with('+')) digits.erase(0, 1);
  std::int64_t uid = 0;
  const char* end = digits.data() + digits.size();
  const auto [rest, failure] = std::from_chars(digits.data(), end, uid);
  const bool two_signs = user.starts_with('+') && digits.starts_with('-');
  if (failure == std::errc{} && rest == end && !two_signs) {
    result.uid = uid;
  } else {
    result.name = std::string(user);
  }
  return result;
}

Reference cri_reference(std::string_view text) {
  auto reference = Reference::parse(text);
  if (!reference.digest() || !reference.tag()) return reference;
  return Reference::parse(reference.locator() + "@" + reference.digest()->str());
}

std::vector<std::string> cri_record_names(const Reference& reference, const Digest& image_id,
                                          const Digest& target) {
  std::vector<std::string> names{image_id.str()};
  if (!reference.digest()) names.push_back(reference.name());
  names.push_back(reference.locator() + "@" + (reference.digest() ? *reference.digest() : target).str());
  return names;
}

CriImages::CriImages(const ContainerdClient& client, const std::vector<std::string>& pinned)
    : content_(client), images_(client), platform_(PlatformMatcher::only(Platform::host())) {
  for (const auto& text : pinned) pinned_.insert(cri_reference(text).name());
}

Awaitable<std::vector<CriImage>> CriImages::list() {
  const auto records = co_await images_.list({});
  std::map<Digest, CriImage> by_id;
  std::map<Digest, Details> still_known;
  for (const auto& record : records) {
    const auto details = co_await details_of(record.target);
    if (!details) continue;
    still_known.insert_or_assign(record.target.digest, details);
    auto& image = by_id[details->id];
    if (!image.details) {
      image.details = details;
      image.target = record.target;
    }
    add_name(image, record);
  }
  known_ = std::move(still_known);
  std::vector<CriImage> all;
  all.reserve(by_id.size());
  for (auto& [id, image] : by_id) {
    std::ranges::sort(image.repo_tags);
    std::ranges::sort(image.repo_digests);
    all.push_back(std::move(image));
  }
  co_return all;
}

Awaitable<std::optional<CriImage>> CriImages::find(std::string id_or_name) {
  if (id_or_name.empty()) throw Error(Errc::invalid_argument, "image: neither an id nor a name is given");
  const auto images = co_await list();
  std::optional<CriImage> found;
  std::string name;
  if (!Digest::try_parse(id_or_name)) {
    try {
      name = cri_reference(id_or_name).name();
    } catch (const Error&) {
      // It may still be the beginning of an id.
      name.clear();
    }
  }
  const auto named = std::ranges::find_if(images, [&](const CriImage& image) {
    return !name.empty() && std::ranges::find(image.names, name) != image.names.end();
  });
  if (named != images.end()) {
    found = *named;
  } else if (const auto* image = find_by_prefix(images, id_or_name)) {
    found = *image;
  }
  co_return found;
}

Awaitable<std::string> CriImages::config(Digest id) {
  auto text = co_await content_.read(id, max_config_bytes);
  co_return text;
}

Awaitable<CriImages::Details> CriImages::details_of(Descriptor target) {
  const auto known = known_.find(target.digest);
  if (known != known_.end()) co_return known->second;
  std::exception_ptr failure;
  try {
    auto details = co_await load_details(target);
    co_return details;
  } catch (...) {
    failure = std::current_exception();
  }
  // An image that lacks something, or is none, is not shown; that containerd does not answer is another
  // thing.
  switch (as_error(failure).code()) {
    case Errc::not_found:
    case Errc::bad_response:
    case Errc::invalid_image:
    case Errc::size_mismatch:
    case Errc::unsupported:
    case Errc::invalid_argument:
      co_return nullptr;
    default:
      std::rethrow_exception(failure);
  }
}

/// The manifest for this node, through indexes; the sizes on the way are added up.
Awaitable<std::optional<Descriptor>> CriImages::choose_manifest(Descriptor target, std::uint64_t& size) {
  for (int depth = 0; depth < max_index_depth; ++depth) {
    size += target.size;
    if (!media_type::is_index(target.media_type)) co_return target;
    const auto text = co_await content_.read(target.digest, max_manifest_bytes);
    const auto index = Index::parse(text, target.media_type);
    auto chosen = choose_manifests(index, platform_, 1);
    if (chosen.empty()) break;
    target = std::move(chosen.front());
  }
  co_return std::nullopt;
}

Awaitable<CriImages::Details> CriImages::load_details(Descriptor target) {
  auto details = std::make_shared<CriImageDetails>();
  const auto found = co_await choose_manifest(std::move(target), details->size);
  if (!found) co_return nullptr;
  const auto text = co_await content_.read(found->digest, max_manifest_bytes);
  const auto manifest = Manifest::parse(text, found->media_type);
  details->id = manifest.config.digest;
  details->size += manifest.config.size;
  for (const auto& layer : manifest.layers) details->size += layer.size;
  const auto config_text = co_await content_.read(manifest.config.digest, max_config_bytes);
  const auto config = ImageConfig::parse(config_text);
  const auto chain = chain_ids(config.diff_ids);
  if (!chain.empty()) details->chain_id = chain.back();
  details->user = user_of(config_text);
  co_return details;
}

Labels CriImages::labels_for_name(const std::string& name) const {
  Labels labels{{std::string(cri_label::managed), std::string(cri_label::managed_value)}};
  if (pinned_.contains(name)) labels[std::string(cri_label::pinned)] = cri_label::pinned_value;
  return labels;
}

Awaitable<Labels> CriImages::labels_for(Reference reference) {
  const auto name = reference.name();
  auto labels = labels_for_name(name);
  // What others have said about the record stays, in particular that it is pinned.
  const auto existing = co_await images_.get(name);
  if (existing) labels.insert(existing->labels.begin(), existing->labels.end());
  co_return labels;
}

Awaitable<> CriImages::record(Reference reference, Descriptor target, Digest image_id) {
  const auto labels = labels_for_name(reference.name());
  for (const auto& name : cri_record_names(reference, image_id, target.digest)) {
    const auto existing = co_await images_.get(name);
    const bool same = existing && existing->target.digest == target.digest &&
                      std::ranges::all_of(labels, [&](const auto& label) {
                        const auto found = existing->labels.find(label.first);
                        return found != existing->labels.end() && found->second == label.second;
                      });
    if (same) continue;
    const ImageRecord record{name, target, labels};
    co_await images_.merge(record);
  }
}

Awaitable<bool> CriImages::remove(std::string id_or_name, std::string& removed_id) {
  const auto image = co_await find(std::move(id_or_name));
  if (!image) co_return false;
  removed_id = image->details->id.str();
  for (std::size_t i = 0; i < image->names.size(); ++i) {
    // The last one waits for the garbage collection, so that the space is free when this is answered.
    co_await images_.remove(image->names[i], i + 1 == image->names.size());
  }
  co_return true;
}

}  // namespace lazypull
