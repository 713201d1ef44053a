#include "snapshot/embedded/store.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/durability.hpp"
#include "snapshot/embedded/files.hpp"

#include <system_error>

#include <algorithm>
#include <cctype>
#include <fcntl.h>
#include <utility>

namespace lazypull {

namespace {

constexpr std::string_view layout_version = R"({"imageLayoutVersion":"1.0.0"})";

/// As containerd has it: letters and digits, with single ".", "_" or "-" between them.
void check_namespace(const std::string& name) {
  constexpr std::size_t longest = 76;
  const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  bool word_before = false;
  bool good = name.size() <= longest;
  for (const char c : name) {
    good = good && (is_word(c) || (word_before && (c == '.' || c == '_' || c == '-')));
    word_before = is_word(c);
  }
  if (!good || !word_before) {
    throw Error(Errc::invalid_argument, "\"" + name.substr(0, longest) + "\" cannot be a namespace");
  }
}

/// Garbage collection deletes what it does not know, so a directory must be new or ours.
void check_owner(const StoreLayout& layout) {
  const auto names = names_in(layout.root);
  const auto has = [&](const std::filesystem::path& file) {
    return std::ranges::find(names, file.filename().string()) != names.end();
  };
  if (names.empty() || has(layout.database()) || has(layout.setup_lock())) return;
  throw Error(Errc::failed_precondition,
              layout.root.string() + " is neither empty nor a store that lazypull has made");
}

StoreLayout layout_in(const std::filesystem::path& directory) {
  std::error_code failure;
  std::filesystem::create_directories(directory, failure);
  StoreLayout layout;
  if (!failure) layout.root = std::filesystem::canonical(directory, failure);
  if (failure) {
    errno = failure.value();
    throw_errno("store " + directory.string());
  }
  return layout;
}

}  // namespace

EmbeddedStore::EmbeddedStore(StoreLayout layout, std::string name_space, std::size_t file_threads)
    : layout_(std::move(layout)),
      name_space_(std::move(name_space)),
      metadata_(layout_.database()),
      content_(layout_, metadata_, name_space_),
      snapshots_(layout_, metadata_, name_space_),
      images_(layout_, metadata_, name_space_),
      file_pool_(file_threads) {}

std::shared_ptr<EmbeddedStore> EmbeddedStore::open(const std::filesystem::path& directory,
                                                   const std::string& name_space,
                                                   const StoreOptions& options) {
  check_namespace(name_space);
  const auto layout = layout_in(directory);
  check_owner(layout);
  const auto lock = open_file(layout.setup_lock(), O_RDWR | O_CREAT, 0644);
  lock_file(lock, true, layout.setup_lock());
  layout.create();
  // Its constructor is private.
  std::shared_ptr<EmbeddedStore> store(new EmbeddedStore(layout, name_space, options.file_threads));
  const auto boot_id = options.boot_id.empty() ? current_boot_id() : options.boot_id;
  recover_from_reboot(layout, store->metadata_, boot_id);
  if (!stat_of(layout.layout_file())) replace_text(layout.layout_file(), layout_version);
  refresh_index(layout, store->metadata_);
  return store;
}

GarbageReport EmbeddedStore::collect_garbage(GarbageOptions options) {
  auto report = lazypull::collect_garbage(layout_, metadata_, options);
  snapshots_.detach_unused();
  return report;
}

Awaitable<StoreLease> EmbeddedStore::acquire_lease(std::chrono::seconds lifetime) {
  auto job = [this, lifetime] { return lazypull::acquire_lease(layout_, metadata_, name_space_, lifetime); };
  co_return co_await database_pool_.run(std::move(job));
}

Awaitable<> EmbeddedStore::protect(std::string lease, LeaseResource kind, std::string key) {
  auto job = [this, &lease, kind, &key] { protect_resource(metadata_, lease, kind, key); };
  co_await database_pool_.run(std::move(job));
}

Awaitable<> EmbeddedStore::release(StoreLease lease) {
  auto job = [this, &lease] { release_lease(layout_, metadata_, std::move(lease)); };
  co_await database_pool_.run(std::move(job));
}

Awaitable<GarbageReport> EmbeddedStore::collect(GarbageOptions options) {
  auto job = [this, options] { return collect_garbage(options); };
  co_return co_await file_pool_.run(std::move(job));
}

}  // namespace lazypull
