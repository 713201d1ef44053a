#include "snapshot/embedded/ingest_file.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fcntl.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace lazypull {

namespace {

constexpr std::size_t copy_bytes = 1U << 20U;

std::uint64_t size_of(const UniqueFd& file, const std::filesystem::path& name) {
  struct ::stat status{};
  if (::fstat(file.get(), &status) != 0) throw_errno("stat " + name.string());
  return static_cast<std::uint64_t>(status.st_size);
}

}  // namespace

bool has_blob_file(const StoreLayout& layout, const Digest& digest, std::uint64_t size) {
  const auto status = stat_of(layout.blob(digest));
  return status && S_ISREG(status->st_mode) && static_cast<std::uint64_t>(status->st_size) == size;
}

StoreTime modified(const struct ::stat& status) {
  return time_of(std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec);
}

IngestFile::IngestFile(std::unique_ptr<Place> place, UniqueFd data, std::optional<std::uint64_t> shared_size)
    : place_(std::move(place)),
      data_(std::move(data)),
      shared_(shared_size.has_value()),
      checkpoint_(place_->data(), place_->expected.digest) {
  struct ::stat status{};
  if (::fstat(data_.get(), &status) != 0) throw_errno("stat " + place_->data().string());
  offset_ = shared_size.value_or(static_cast<std::uint64_t>(status.st_size));
  started_ = place_->started;
  updated_ = std::max(modified(status), started_);
  if (shared_ || !place_->expected.size) return;
  if (offset_ > *place_->expected.size) truncate();  // of something else, by the same name
}

IngestFile::~IngestFile() {
  if (!data_ || shared_) return;
  const bool is_kept = kept_ && checkpoint_.load(data_, offset_) == kept_;
  // The kernel's own stamp is a few milliseconds coarse.
  const auto nanoseconds = nanoseconds_of(updated_);
  const ::timespec time{.tv_sec = nanoseconds / 1'000'000'000, .tv_nsec = nanoseconds % 1'000'000'000};
  const std::array<::timespec, 2> times{time, time};
  ::futimens(data_.get(), times.data());
  if (is_kept) checkpoint_.save(data_, offset_, *kept_);  // that was a change of the file
}

IngestStatus IngestFile::status() const {
  IngestStatus status;
  status.ref = place_->ref;
  status.offset = offset_;
  status.total = place_->expected.size;
  status.started = started_;
  status.updated = updated_;
  return status;
}

const ExpectedContent& IngestFile::expected() const noexcept {
  return place_->expected;
}

std::optional<Sha256State> IngestFile::kept_state() {
  if (shared_ || !data_) return std::nullopt;
  kept_ = checkpoint_.load(data_, offset_);
  return kept_;
}

void IngestFile::keep_state(const Sha256State& state) {
  require_open();
  kept_ = state;
  checkpoint_.save(data_, offset_, state);
}

void IngestFile::expect(ExpectedContent expected) {
  place_->expected = std::move(expected);
}

void IngestFile::require_open() const {
  if (!data_) throw Error(Errc::failed_precondition, "ingest " + place_->ref + " is over");
}

void IngestFile::write(std::span<const std::byte> bytes) {
  require_open();
  if (shared_) copy_shared();
  kept_.reset();
  write_at(data_, bytes, offset_, place_->data());
  offset_ += bytes.size();
  updated_ = std::chrono::system_clock::now();
}

void IngestFile::truncate() {
  require_open();
  if (::ftruncate(data_.get(), 0) != 0) throw_errno("truncate " + place_->data().string());
  shared_ = false;
  kept_.reset();
  checkpoint_.remove();
  offset_ = 0;
  updated_ = std::chrono::system_clock::now();
}

std::size_t IngestFile::read(std::uint64_t position, std::span<std::byte> into) const {
  require_open();
  if (!shared_) return read_at(data_, into, position, place_->data());
  const auto blob = place_->layout.blob(place_->expected.digest);
  return read_at(open_file(blob, O_RDONLY), into, position, blob);
}

/// Somebody wants to go on from another namespace's blob, which itself never changes.
void IngestFile::copy_shared() {
  const auto source = place_->layout.blob(place_->expected.digest);
  const auto blob = open_file(source, O_RDONLY);
  if (::ftruncate(data_.get(), 0) != 0) throw_errno("truncate " + place_->data().string());
  std::vector<std::byte> buffer(copy_bytes);
  std::uint64_t done = 0;
  for (;;) {
    const auto got = read_at(blob, buffer, done, source);
    if (got == 0) break;
    write_at(data_, std::span(buffer).first(got), done, place_->data());
    done += got;
  }
  offset_ = done;
  shared_ = false;
}

void IngestFile::verify(const Digest& actual) const {
  const auto& expected = place_->expected;
  const auto size = shared_ ? offset_ : size_of(data_, place_->data());
  if (size != offset_) {
    throw Error(Errc::internal, "ingest " + place_->ref + " was changed by somebody else");
  }
  if (expected.size && *expected.size != size) {
    throw Error(Errc::size_mismatch, "ingest " + place_->ref + " has " + std::to_string(size) +
                                         " bytes, not " + std::to_string(*expected.size));
  }
  if (!expected.digest.empty() && expected.digest != actual) {
    throw Error(Errc::digest_mismatch,
                "ingest " + place_->ref + " is " + actual.str() + ", not " + expected.digest.str());
  }
}

CommitOutcome IngestFile::commit(const Digest& actual, const Labels& labels) {
  require_open();
  verify(actual);
  if (!shared_ && ::fchmod(data_.get(), 0444) != 0) throw_errno("chmod " + place_->data().string());
  const auto outcome = place_->metadata.write([&](Rows& rows) { return record(rows, actual, labels); });
  data_.reset();
  delete_tree(place_->directory);
  return outcome;
}

/// In a write transaction, so that neither garbage collection nor another commit looks at the blobs between
/// the file's rename and its record. Killed in between, it leaves a file without a record, which is garbage.
CommitOutcome IngestFile::record(Rows& rows, const Digest& actual, const Labels& labels) {
  const auto& layout = place_->layout;
  rows.leases.protect(place_->lease, LeaseResource::content, actual.str());
  check_labels(labels);
  const bool known = rows.content.find(place_->name_space, actual).has_value();
  const auto size = rows.content.blob_size(actual);
  const bool there = size && has_blob_file(layout, actual, *size);
  if (shared_ && !there) {
    throw Error(Errc::unavailable, "content " + actual.str() + " was removed while it was being adopted");
  }
  // The whole directory is moved away first: whoever opens the same ref from now on begins a new one.
  place_->directory = layout.discard(place_->directory);
  if (known && there) return CommitOutcome::already_exists;
  if (!there) {
    const auto blob = layout.blob(actual);
    const auto data = place_->data();
    if (::rename(data.c_str(), blob.c_str()) != 0) {
      throw_errno("rename " + data.string() + " to " + blob.string());
    }
  }
  const ContentInfo info{.digest = actual, .size = offset_, .labels = labels};
  rows.content.add(place_->name_space, info, !there);
  return CommitOutcome::committed;
}

}  // namespace lazypull
