#pragma once

#include "snapshot/embedded/content_directory.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <string>

/// What IngestFile and ContentDirectory share. For their .cpp files only.
namespace lazypull {

struct IngestFile::Place {
  StoreLayout layout;
  Metadata& metadata;
  std::string name_space;
  std::string ref;
  ExpectedContent expected;
  std::string lease;
  std::filesystem::path directory;
  StoreTime started;

  std::filesystem::path data() const { return directory / "data"; }
};

bool has_blob_file(const StoreLayout& layout, const Digest& digest, std::uint64_t size);

StoreTime modified(const struct ::stat& status);

}  // namespace lazypull
