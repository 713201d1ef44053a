#include "tools/debug_log.hpp"

#include "engine/error.hpp"
#include "tools/text.hpp"

#include <cstdio>
#include <exception>
#include <type_traits>
#include <utility>

namespace lazypull {
namespace {

using Clock = std::chrono::steady_clock;

void log(const std::string& text, std::chrono::nanoseconds duration, const std::string& outcome) {
  static const auto beginning = Clock::now();
  const double at = std::chrono::duration<double>(Clock::now() - beginning).count();
  const auto line = printable(text + ": " + outcome);
  std::fprintf(stderr, "debug %.4f %s (%s)\n", at, line.c_str(), format_duration(duration).c_str());
}

std::string outcome(const std::optional<ContentInfo>& value) {
  return value ? "found" : "not found";
}
std::string outcome(const std::optional<SnapshotInfo>& value) {
  return value ? "found" : "not found";
}
std::string outcome(const std::optional<ImageRecord>& value) {
  return value ? "found" : "not found";
}
std::string outcome(const std::string& value) {
  return format_count(value.size(), "byte");
}
std::string outcome(CommitOutcome value) {
  return value == CommitOutcome::committed ? "committed" : "already exists";
}
std::string outcome(const PrepareOutcome& value) {
  return value.already_exists ? "already exists" : format_count(value.mounts.size(), "mount");
}
std::string outcome(bool value) {
  return value ? "yes" : "no";
}
std::string outcome(const AppliedLayer& value) {
  return value.diff_id.str();
}
std::string outcome(const std::unique_ptr<Lease>&) {
  return "ok";
}
std::string outcome(const std::unique_ptr<BlobReader>&) {
  return "ok";
}
std::string outcome(const std::unique_ptr<Ingest>& value) {
  return value ? "ok" : "exists already";
}
std::string outcome(const std::unique_ptr<LayerUnpack>& value) {
  return value ? "ok" : "only from the store";
}

/// Awaits the call and says what came of it.
template <class T>
Awaitable<T> logged(std::string text, Awaitable<T> call) {
  const auto start = Clock::now();
  std::exception_ptr failure;
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(call);
      log(text, Clock::now() - start, "ok");
      co_return;
    } else {
      T value = co_await std::move(call);
      log(text, Clock::now() - start, outcome(value));
      co_return value;
    }
  } catch (...) {
    failure = std::current_exception();
  }
  log(text, Clock::now() - start, as_error(failure).message());
  std::rethrow_exception(failure);
}

class DebugIngest final : public Ingest {
 public:
  DebugIngest(std::unique_ptr<Ingest> ingest, std::string ref)
      : ingest_(std::move(ingest)), ref_(std::move(ref)) {}

  std::uint64_t offset() const noexcept override { return ingest_->offset(); }
  Awaitable<void> write(std::span<const std::byte> bytes) override { return ingest_->write(bytes); }
  Awaitable<CommitOutcome> commit(const Labels& labels) override {
    return logged("content commit " + ref_, ingest_->commit(labels));
  }

 private:
  std::unique_ptr<Ingest> ingest_;
  std::string ref_;
};

class DebugContent final : public ContentStore {
 public:
  explicit DebugContent(ContentStore& content) : content_(content) {}

  Awaitable<std::optional<ContentInfo>> info(const Digest& digest) override {
    return logged("content info " + digest.str(), content_.info(digest));
  }
  Awaitable<void> update_labels(const Digest& digest, const Labels& labels) override {
    return logged("content update " + digest.str(), content_.update_labels(digest, labels));
  }
  Awaitable<std::string> read(const Digest& digest, std::uint64_t limit) override {
    return logged("content read " + digest.str(), content_.read(digest, limit));
  }
  Awaitable<std::unique_ptr<BlobReader>> open(const Digest& digest) override {
    return logged("content open " + digest.str(), content_.open(digest));
  }
  Awaitable<std::unique_ptr<Ingest>> ingest(const std::string& ref, const Descriptor& descriptor) override {
    std::string name = ref;
    auto ingest = co_await logged("content write " + name, content_.ingest(name, descriptor));
    if (!ingest) co_return nullptr;
    co_return std::make_unique<DebugIngest>(std::move(ingest), std::move(name));
  }
  Awaitable<void> abort(const std::string& ref) override {
    return logged("content abort " + ref, content_.abort(ref));
  }

 private:
  ContentStore& content_;
};

class DebugSnapshotter final : public Snapshotter {
 public:
  explicit DebugSnapshotter(Snapshotter& snapshotter) : snapshotter_(snapshotter) {}

  const std::string& name() const noexcept override { return snapshotter_.name(); }
  Awaitable<std::optional<SnapshotInfo>> stat(const std::string& key) override {
    return logged("snapshot stat " + key, snapshotter_.stat(key));
  }
  Awaitable<PrepareOutcome> prepare(const std::string& key, const std::string& parent,
                                    const Labels& labels) override {
    return logged("snapshot prepare " + key, snapshotter_.prepare(key, parent, labels));
  }
  Awaitable<CommitOutcome> commit(const std::string& name, const std::string& key,
                                  const Labels& labels) override {
    return logged("snapshot commit " + key, snapshotter_.commit(name, key, labels));
  }
  Awaitable<void> remove(const std::string& key) override {
    return logged("snapshot remove " + key, snapshotter_.remove(key));
  }

 private:
  Snapshotter& snapshotter_;
};

class DebugUnpack final : public LayerUnpack {
 public:
  DebugUnpack(std::unique_ptr<LayerUnpack> unpack, std::string layer)
      : unpack_(std::move(unpack)), layer_(std::move(layer)) {}

  Awaitable<void> write(std::span<const std::byte> bytes) override { return unpack_->write(bytes); }
  Awaitable<AppliedLayer> finish() override { return logged("unpack finish " + layer_, unpack_->finish()); }
  Awaitable<bool> place(const std::vector<Mount>& mounts) override {
    return logged("unpack place " + layer_, unpack_->place(mounts));
  }

 private:
  std::unique_ptr<LayerUnpack> unpack_;
  std::string layer_;
};

class DebugApplier final : public Applier {
 public:
  explicit DebugApplier(Applier& applier) : applier_(applier) {}

  Awaitable<AppliedLayer> apply(const Descriptor& layer, const std::vector<Mount>& mounts) override {
    return logged("apply " + layer.digest.str(), applier_.apply(layer, mounts));
  }
  Awaitable<std::unique_ptr<LayerUnpack>> start(const Descriptor& layer, UnpackTraits traits) override {
    std::string name = layer.digest.str();
    auto unpack = co_await logged("unpack start " + name, applier_.start(layer, traits));
    if (!unpack) co_return nullptr;
    co_return std::make_unique<DebugUnpack>(std::move(unpack), std::move(name));
  }

 private:
  Applier& applier_;
};

class DebugImages final : public ImageStore {
 public:
  explicit DebugImages(ImageStore& images) : images_(images) {}

  Awaitable<std::optional<ImageRecord>> get(const std::string& name) override {
    return logged("image get " + name, images_.get(name));
  }
  Awaitable<void> put(const ImageRecord& image) override {
    return logged("image put " + image.name, images_.put(image));
  }

 private:
  ImageStore& images_;
};

class DebugLease final : public Lease {
 public:
  explicit DebugLease(std::unique_ptr<Lease> lease)
      : lease_(std::move(lease)),
        content_(lease_->content()),
        snapshotter_(lease_->snapshotter()),
        applier_(lease_->applier()),
        images_(lease_->images()) {}

  ContentStore& content() override { return content_; }
  Snapshotter& snapshotter() override { return snapshotter_; }
  Applier& applier() override { return applier_; }
  ImageStore& images() override { return images_; }
  Awaitable<void> protect_snapshot(const std::string& name) override {
    return logged("lease snapshot " + name, lease_->protect_snapshot(name));
  }
  Awaitable<void> protect_content(const Digest& digest) override {
    return logged("lease content " + digest.str(), lease_->protect_content(digest));
  }
  Awaitable<void> release(bool synchronous) override {
    return logged(synchronous ? "lease release and collect" : "lease release", lease_->release(synchronous));
  }

 private:
  std::unique_ptr<Lease> lease_;
  DebugContent content_;
  DebugSnapshotter snapshotter_;
  DebugApplier applier_;
  DebugImages images_;
};

}  // namespace

void debug_request(const RequestLog& request) {
  const std::string text = request.method + " " + request.url;
  std::string outcome = request.failure;
  if (request.failure.empty()) {
    outcome = std::to_string(request.status) + ", " + format_count(request.body_bytes, "byte");
  }
  log(text, request.duration, outcome);
}

Awaitable<std::unique_ptr<Lease>> DebugLeases::acquire(std::chrono::seconds lifetime) {
  auto lease = co_await logged("lease create", leases_.acquire(lifetime));
  co_return std::make_unique<DebugLease>(std::move(lease));
}

}  // namespace lazypull
