#include "snapshot/embedded/content_directory.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/embedded/ingest_file.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <utility>

namespace lazypull {

namespace {

constexpr std::uint64_t max_small_file = 64U << 10U;

/// Empty if nothing of that namespace is in the directory.
std::optional<std::string> ref_in(const std::filesystem::path& directory, const std::string& name_space) {
  auto text = read_text(directory / "ref", max_small_file);
  if (!text.starts_with(name_space + "/")) return std::nullopt;
  return text.substr(name_space.size() + 1);
}

std::optional<std::int64_t> number_in(const std::filesystem::path& file) {
  if (!stat_of(file)) return std::nullopt;
  const auto text = read_text(file, max_small_file);
  std::int64_t number = 0;
  const auto* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec != std::errc{} || parsed.ptr != end) return std::nullopt;
  return number;
}

/// Under the ingest's lock, which nobody gets after a half-written file but to write it anew.
void write_text(const std::filesystem::path& file, const std::string& text) {
  const auto descriptor = open_file(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  write_at(descriptor, std::as_bytes(std::span(text)), 0, file);
}

/// Throws locked. Empty if somebody has moved the directory away meanwhile.
UniqueFd lock_data(const std::filesystem::path& directory, const std::string& ref) {
  const auto name = directory / "data";
  UniqueFd data(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!data) {
    if (errno == ENOENT) return {};
    throw_errno("open " + name.string());
  }
  if (!lock_file(data, false, name)) throw Error(Errc::locked, "ingest " + ref + " is being written");
  struct ::stat ours{};
  if (::fstat(data.get(), &ours) != 0) throw_errno("stat " + name.string());
  const auto there = stat_of(name);
  if (!there || there->st_ino != ours.st_ino) return {};
  return data;
}

Error no_content(const Digest& digest) {
  return {Errc::not_found, "content " + digest.str() + " is not in the store"};
}

std::optional<StoredContent> find_present(Rows& rows, const StoreLayout& layout,
                                          const std::string& name_space, const Digest& digest) {
  auto found = rows.content.find(name_space, digest);
  // A blob that somebody has deleted by hand can so be fetched again.
  if (found && !has_blob_file(layout, digest, found->info.size)) found.reset();
  return found;
}

}  // namespace

ContentDirectory::ContentDirectory(StoreLayout layout, Metadata& metadata, std::string name_space)
    : layout_(std::move(layout)), metadata_(metadata), name_space_(std::move(name_space)) {}

std::optional<StoredContent> ContentDirectory::info(const Digest& digest) const {
  return metadata_.read([&](Rows& rows) { return find_present(rows, layout_, name_space_, digest); });
}

std::vector<StoredContent> ContentDirectory::list() const {
  return metadata_.read([&](Rows& rows) { return rows.content.list(name_space_); });
}

void ContentDirectory::update_labels(const Digest& digest, const Labels& labels) {
  metadata_.write([&](Rows& rows) {
    auto found = rows.content.find(name_space_, digest);
    if (!found) throw no_content(digest);
    rows.content.set_labels(name_space_, digest, merged_labels(std::move(found->info.labels), labels));
  });
}

std::string ContentDirectory::read(const Digest& digest, std::uint64_t limit) const {
  if (!info(digest)) throw no_content(digest);
  return read_text(layout_.blob(digest), limit);
}

UniqueFd ContentDirectory::open(const Digest& digest) const {
  if (!info(digest)) throw no_content(digest);
  return open_file(layout_.blob(digest), O_RDONLY);
}

bool ContentDirectory::remove(const Digest& digest) {
  return metadata_.write([&](Rows& rows) { return rows.content.remove(name_space_, digest); });
}

std::unique_ptr<IngestFile> ContentDirectory::ingest(const std::string& ref, ExpectedContent expected,
                                                     const std::string& lease) {
  std::optional<std::uint64_t> shared;
  const bool exists = metadata_.write([&](Rows& rows) {
    rows.leases.protect(lease, LeaseResource::ingest, ref);
    if (expected.digest.empty()) return false;
    rows.leases.protect(lease, LeaseResource::content, expected.digest.str());
    if (find_present(rows, layout_, name_space_, expected.digest)) return true;
    shared = rows.content.blob_size(expected.digest);
    if (shared && !has_blob_file(layout_, expected.digest, *shared)) shared.reset();
    return false;
  });
  if (exists) return nullptr;
  if (shared && expected.size && *expected.size != *shared) {
    throw Error(Errc::size_mismatch, "content " + expected.digest.str() + " has " + std::to_string(*shared) +
                                         " bytes, not " + std::to_string(*expected.size));
  }
  auto place =
      std::make_unique<IngestFile::Place>(IngestFile::Place{.layout = layout_,
                                                            .metadata = metadata_,
                                                            .name_space = name_space_,
                                                            .ref = ref,
                                                            .expected = std::move(expected),
                                                            .lease = lease,
                                                            .directory = layout_.ingest(name_space_, ref),
                                                            .started = {}});
  const auto& directory = place->directory;
  UniqueFd data;
  while (!data) {
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) throw_errno("mkdir " + directory.string());
    data = lock_data(directory, ref);
  }
  if (const auto started = number_in(directory / "startedat")) {
    place->started = time_of(*started);
  } else {
    place->started = std::chrono::system_clock::now();
    write_text(directory / "ref", name_space_ + "/" + ref);
    write_text(directory / "startedat", std::to_string(nanoseconds_of(place->started)));
  }
  if (place->expected.size) write_text(directory / "total", std::to_string(*place->expected.size));
  // Its constructor is private.
  return std::unique_ptr<IngestFile>(new IngestFile(std::move(place), std::move(data), shared));
}

std::vector<IngestStatus> ContentDirectory::ingests() const {
  std::vector<IngestStatus> all;
  for (const auto& name : names_in(layout_.ingests())) {
    const auto directory = layout_.ingests() / name;
    try {
      auto ref = ref_in(directory, name_space_);
      const auto data = stat_of(directory / "data");
      if (!ref || !data) continue;
      IngestStatus status;
      status.ref = std::move(*ref);
      status.offset = static_cast<std::uint64_t>(data->st_size);
      if (const auto total = number_in(directory / "total"))
        status.total = static_cast<std::uint64_t>(*total);
      status.started = time_of(number_in(directory / "startedat").value_or(0));
      status.updated = std::max(modified(*data), status.started);
      all.push_back(std::move(status));
    } catch (const Error& error) {
      if (error.code() != Errc::not_found) throw;  // committed or dropped just now
    }
  }
  return all;
}

void ContentDirectory::abort(const std::string& ref) {
  const auto directory = layout_.ingest(name_space_, ref);
  if (!stat_of(directory)) return;
  const auto data = lock_data(directory, ref);
  if (!data) return;
  delete_tree(layout_.discard(directory));
}

}  // namespace lazypull
