#pragma once

#include "engine/digest.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// A file descriptor that is closed at the end. Move-only.
class OpenFile {
 public:
  OpenFile() = default;
  explicit OpenFile(int descriptor) noexcept : descriptor_(descriptor) {}
  OpenFile(OpenFile&& other) noexcept;
  OpenFile& operator=(OpenFile&& other) noexcept;
  ~OpenFile();

  int descriptor() const noexcept { return descriptor_; }
  bool is_open() const noexcept { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

/// The content of a blob, ready to be read.
struct OpenBlob {
  OpenFile file;
  std::uint64_t size = 0;  ///< bytes
};

/// Where images come from: an OCI image layout (image-spec, image-layout.md).
struct LayoutSource {
  std::filesystem::path folder;
  /// Whose tags the layout's plain names are; if it is empty, the name of the folder.
  std::string repository;
};

/// What an embedded registry has: the tags of OCI image layouts and the media types of all that they lead to.
/// Read once; blobs are opened as they are asked for, and never through a symbolic link.
class ServedLayouts {
 public:
  /// Names are those of the annotation `org.opencontainers.image.ref.name` of index.json: a plain tag, or
  /// "repository:tag", also with a host before it, which is dropped. An entry with another name is served by
  /// its digest alone. Throws Error{not_found} or Error{bad_response} that names the file.
  static ServedLayouts load(const std::vector<LayoutSource>& sources);

  std::optional<Digest> find(std::string_view repository, std::string_view tag) const;
  /// The media type of a manifest or index that index.json leads to; null if it leads to none such.
  const std::string* manifest_type(const Digest& digest) const;
  /// The media type of anything that a manifest describes; "application/octet-stream" for the rest.
  std::string blob_type(const Digest& digest) const;
  /// Sorted; null for an unknown repository.
  const std::map<std::string, Digest, std::less<>>* tags(std::string_view repository) const;
  std::vector<std::string> repositories() const;

  /// Blocks on the disk. Nothing if no layout has it as a regular file.
  std::optional<OpenBlob> open(const Digest& digest) const;

 private:
  void add(const LayoutSource& source);
  void add_name(std::string_view name, const std::string& repository, const Digest& digest);
  void walk(const Digest& digest, const std::string& type, int depth);
  std::optional<std::string> read(const Digest& digest, std::uint64_t limit) const;

  std::vector<OpenFile> blob_folders_;
  std::map<std::string, std::map<std::string, Digest, std::less<>>, std::less<>> repositories_;
  std::map<Digest, std::string> manifest_types_;
  std::map<Digest, std::string> blob_types_;
};

/// The grammars of distribution-spec, "Pulling manifests".
bool is_repository_name(std::string_view text) noexcept;
bool is_tag(std::string_view text) noexcept;

}  // namespace lazypull
