#pragma once

#include "engine/offload.hpp"
#include "engine/ports.hpp"
#include "transport/containerd/content.hpp"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace lazypull {

/// The folder of the content store of a containerd on the same host, for blobs that are too large to be sent
/// through its socket: containerd would copy each byte twice more and digest it on one thread.
///
/// containerd stays in charge. An ingest is opened by its own call, which makes the folder, keeps other
/// writers out, and knows how far an interrupted one has come; the bytes go straight into the ingest's file.
/// Once they have been verified, the file takes its place among the blobs, and containerd adopts it as it
/// adopts a blob of another namespace (its `content_sharing_policy` is "shared" by default): by its digest,
/// without reading it. Should its garbage collector have been faster, or the policy be another, it is sent
/// the bytes after all.
class LocalContent {
 public:
  /// `root`: the folder, as containerd's introspection tells it. It may turn out not to be the same folder
  /// for us (containerd in a container, another mount namespace); then everything is sent through the socket.
  LocalContent(std::filesystem::path root, std::string name_space);

  /// As ContentStore::ingest. `content` is to outlive it, and so is this.
  Awaitable<std::unique_ptr<Ingest>> ingest(ContainerdContent& content, const std::string& ref,
                                            const Descriptor& descriptor);

 private:
  friend class LocalIngest;
  std::filesystem::path ingest_folder(const std::string& ref) const;
  std::filesystem::path blob(const Digest& digest) const;
  bool is_among_blobs(const Descriptor& descriptor) const;

  std::filesystem::path root_;
  std::string name_space_;
  std::optional<BlockingPool> files_;  ///< made when first needed
  bool adopts_ = true;                 ///< false once containerd has not taken a blob that lay there
};

}  // namespace lazypull
