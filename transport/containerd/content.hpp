#pragma once

#include "engine/ports.hpp"
#include "transport/containerd/client.hpp"

#include <memory>
#include <string>
#include <vector>

namespace lazypull {

/// An open ingest of containerd's content store. Nobody else can write the same ref meanwhile, unless
/// containerd is restarted: then whoever comes first has it.
class ContainerdIngest : public Ingest {
 public:
  /// Whether containerd has kept others from it since it was opened. After false only `close` may be called.
  virtual Awaitable<bool> still_held() = 0;
  /// Ends the writing and leaves the ingest as it is; once, and instead of `commit`.
  virtual Awaitable<void> close() = 0;
};

/// containerd's content store. What is opened or committed through a client with a lease belongs to the
/// lease.
class ContainerdContent final : public ContentStore {
 public:
  explicit ContainerdContent(ContainerdClient client);
  ~ContainerdContent() override;

  Awaitable<std::optional<ContentInfo>> info(const Digest& digest) override;
  Awaitable<void> update_labels(const Digest& digest, const Labels& labels) override;
  Awaitable<std::string> read(const Digest& digest, std::uint64_t limit) override;
  Awaitable<std::unique_ptr<BlobReader>> open(const Digest& digest) override;
  Awaitable<std::unique_ptr<Ingest>> ingest(const std::string& ref, const Descriptor& descriptor) override;
  Awaitable<void> abort(const std::string& ref) override;

  /// As `ingest`.
  Awaitable<std::unique_ptr<ContainerdIngest>> open_ingest(const std::string& ref,
                                                           const Descriptor& descriptor);

  /// Everything that matches one of the filters ("labels.\"key\"==value"), or everything.
  Awaitable<std::vector<ContentInfo>> list(const std::vector<std::string>& filters);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // ingests share it
};

}  // namespace lazypull
