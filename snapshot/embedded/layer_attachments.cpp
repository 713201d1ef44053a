#include "snapshot/embedded/layer_attachments.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"

#include <algorithm>
#include <exception>
#include <set>

namespace lazypull {

namespace {

/// That of a layer, and not of the snapshot: nobody is to take the snapshot for one that does not exist.
Errc code_for(Errc failure) {
  return failure == Errc::not_found ? Errc::unavailable : failure;
}

bool is_image(const RemoteLayer& layer) {
  return layer.record.format != LayerFormat::directory;
}

/// Whether one may stand in for the other in a snapshot.
bool is_same(const LayerRecord& one, const LayerRecord& other) {
  return one.digest == other.digest && one.diff_id == other.diff_id && one.below == other.below;
}

}  // namespace

std::optional<RemoteLayer> LayerAttachments::find(const Digest& layer) {
  if (!source_) return std::nullopt;
  return source_->find(layer);
}

std::optional<AttachedLayer> LayerAttachments::try_attach(const RemoteLayer& layer) {
  try {
    return AttachedLayer{.layer = layer, .directory = source_->attach(layer)};
  } catch (const Error&) {
    return std::nullopt;
  }
}

AttachedLayer LayerAttachments::attach(const RemoteRow& row, const std::string& key) {
  std::exception_ptr failure;
  try {
    if (source_) return {.layer = row.layer, .directory = source_->attach(row.layer)};
  } catch (const Error&) {
    failure = std::current_exception();
  }
  if (auto found = attach_elsewhere(row)) return std::move(*found);
  try {
    // A storage that does not answer is not asked twice.
    if (failure && as_error(failure).code() != Errc::not_found) std::rethrow_exception(failure);
    return {.layer = row.layer, .directory = source_of(row.layer)->attach(row.layer)};
  } catch (const Error& error) {
    throw Error(code_for(error.code()), "snapshot " + key + " needs remote layer " +
                                            row.layer.record.digest.str() + " (snapshot " + row.name +
                                            ") from " + row.layer.data.string() + ": " + error.message());
  }
}

std::optional<AttachedLayer> LayerAttachments::attach_elsewhere(const RemoteRow& row) {
  if (!source_) return std::nullopt;
  const auto found = source_->find(row.layer.record.digest);
  if (!found || found->data == row.layer.data || !is_same(found->record, row.layer.record)) {
    return std::nullopt;
  }
  return try_attach(*found);
}

bool LayerAttachments::are_attached(const std::vector<RemoteRow>& rows) const {
  if (std::ranges::none_of(rows, [](const RemoteRow& row) { return is_image(row.layer); })) return true;
  const auto list = attached();
  const std::set<Digest> mounted(list.begin(), list.end());
  return std::ranges::all_of(rows, [&](const RemoteRow& row) {
    return !is_image(row.layer) || mounted.contains(row.layer.record.digest);
  });
}

bool LayerAttachments::is_attached(const RemoteLayer& layer) const {
  return !is_image(layer) || std::ranges::count(attached(), layer.record.digest) > 0;
}

std::vector<Digest> LayerAttachments::attached() const {
  const auto source = local_source();
  return source ? source->attached() : std::vector<Digest>();
}

void LayerAttachments::detach(const Digest& layer) {
  if (const auto source = local_source()) source->detach(layer);
}

std::shared_ptr<LayerSource> LayerAttachments::source_of(const RemoteLayer& layer) {
  const std::lock_guard lock(mutex_);
  auto& source = others_[layer.data.parent_path().parent_path().parent_path()];
  if (!source) source = layer_source_for(layer, mounts_);
  return source;
}

std::shared_ptr<LayerSource> LayerAttachments::local_source() const {
  if (source_) return source_;
  if (!stat_of(mounts_)) return nullptr;
  return layer_source_without_storages(mounts_);
}

}  // namespace lazypull
