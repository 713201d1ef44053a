#include "transport/registry_server_layout.hpp"

#include "engine/error.hpp"
#include "engine/manifest.hpp"

#include <sys/stat.h>
#include <system_error>

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace lazypull {

namespace {

constexpr std::string_view name_annotation = "org.opencontainers.image.ref.name";
constexpr std::size_t max_repository_name = 255;
constexpr std::size_t max_tag = 128;

bool is_lower_alnum(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool is_word(char c) noexcept {
  return is_lower_alnum(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

// Below an open folder, without following a symbolic link in the last component.
OpenFile open_below(int folder, const std::string& name, int flags) {
  return OpenFile(::openat(folder, name.c_str(), flags | O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
}

[[noreturn]] void refuse(const std::filesystem::path& path, int failure) {
  const auto code = failure == EACCES || failure == EPERM ? Errc::permission_denied : Errc::not_found;
  throw Error(code, "OCI layout: " + path.string() + ": " + std::generic_category().message(failure));
}

std::optional<OpenBlob> regular_file(OpenFile file) {
  struct stat status{};
  if (!file.is_open() || ::fstat(file.descriptor(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return std::nullopt;
  }
  return OpenBlob{std::move(file), static_cast<std::uint64_t>(status.st_size)};
}

// The whole of a file that is no longer than `limit`.
std::optional<std::string> read_all(const OpenBlob& blob, std::uint64_t limit) {
  if (blob.size > limit) return std::nullopt;
  std::string text(static_cast<std::size_t>(blob.size), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const auto got = ::read(blob.file.descriptor(), text.data() + done, text.size() - done);
    if (got <= 0) return std::nullopt;
    done += static_cast<std::size_t>(got);
  }
  return text;
}

std::string default_repository(const LayoutSource& source) {
  const auto folder = std::filesystem::absolute(source.folder).lexically_normal();
  const std::string name = folder.has_filename() ? folder.filename() : folder.parent_path().filename();
  if (is_repository_name(name)) return name;
  throw Error(Errc::invalid_argument,
              "the folder name '" + name + "' is no repository name; give one for its tags");
}

// "registry.example.com:5000/app" is app: whoever asks has the host in front of the path.
std::string_view without_host(std::string_view repository) noexcept {
  const auto slash = repository.find('/');
  if (slash == std::string_view::npos) return repository;
  const auto first = repository.substr(0, slash);
  const bool host = first == "localhost" || first.find_first_of(".:") != std::string_view::npos;
  return host ? repository.substr(slash + 1) : repository;
}

}  // namespace

OpenFile::OpenFile(OpenFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

OpenFile& OpenFile::operator=(OpenFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

OpenFile::~OpenFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool is_repository_name(std::string_view text) noexcept {
  if (text.empty() || text.size() > max_repository_name) return false;
  std::size_t at = 0;
  const auto alphanumeric = [&] {
    const auto start = at;
    while (at < text.size() && is_lower_alnum(text[at])) ++at;
    return at > start;
  };
  if (!alphanumeric()) return false;
  while (at < text.size()) {
    const char separator = text[at];
    const auto start = at;
    while (at < text.size() && text[at] == separator) ++at;
    const auto length = at - start;
    const bool fits = separator == '-' || (separator == '_' && length <= 2) ||
                      ((separator == '.' || separator == '/') && length == 1);
    if (!fits || !alphanumeric()) return false;
  }
  return true;
}

bool is_tag(std::string_view text) noexcept {
  if (text.empty() || text.size() > max_tag || !is_word(text.front())) return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return is_word(c) || c == '.' || c == '-'; });
}

ServedLayouts ServedLayouts::load(const std::vector<LayoutSource>& sources) {
  ServedLayouts layouts;
  for (const auto& source : sources) layouts.add(source);
  return layouts;
}

void ServedLayouts::add(const LayoutSource& source) {
  const auto folder = source.folder.string();
  // The folder itself may be reached through links: its name is the user's, not a client's.
  const OpenFile root(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.is_open()) refuse(source.folder, errno);
  auto blobs = open_below(root.descriptor(), "blobs", O_DIRECTORY);
  if (!blobs.is_open()) refuse(source.folder / "blobs", errno);
  auto file = open_below(root.descriptor(), "index.json", 0);
  if (!file.is_open()) refuse(source.folder / "index.json", errno);
  const auto blob = regular_file(std::move(file));
  const auto text = blob ? read_all(*blob, max_manifest_bytes) : std::nullopt;
  if (!text) throw Error(Errc::bad_response, folder + "/index.json: no file of at most 4 MiB");

  Index index;
  try {
    index = Index::parse(*text, media_type::oci_index);
  } catch (const Error& error) {
    throw error.with_context(folder + "/index.json");
  }
  const auto repository = source.repository.empty() ? default_repository(source) : source.repository;
  if (!is_repository_name(repository)) {
    throw Error(Errc::invalid_argument, "'" + repository + "' is no repository name");
  }
  blob_folders_.push_back(std::move(blobs));
  repositories_[repository];
  for (const auto& entry : index.manifests) {
    const auto name = entry.annotations.find(std::string(name_annotation));
    if (name != entry.annotations.end()) add_name(name->second, repository, entry.digest);
    walk(entry.digest, entry.media_type, max_index_depth);
  }
}

void ServedLayouts::add_name(std::string_view name, const std::string& repository, const Digest& digest) {
  if (is_tag(name)) {
    repositories_[repository].insert_or_assign(std::string(name), digest);
    return;
  }
  const auto colon = name.rfind(':');
  if (colon == std::string_view::npos) return;
  const auto path = without_host(name.substr(0, colon));
  const auto tag = name.substr(colon + 1);
  if (!is_repository_name(path) || !is_tag(tag)) return;
  repositories_[std::string(path)].insert_or_assign(std::string(tag), digest);
}

// What cannot be read or understood is served as it is: clients are tried out on it.
void ServedLayouts::walk(const Digest& digest, const std::string& type, int depth) {
  if (depth == 0 || !manifest_types_.emplace(digest, type).second) return;
  const auto text = read(digest, max_manifest_bytes);
  if (!text) return;
  try {
    if (media_type::is_index(type)) {
      for (const auto& child : Index::parse(*text, type).manifests) {
        walk(child.digest, child.media_type, depth - 1);
      }
    } else if (media_type::is_manifest(type)) {
      const auto manifest = Manifest::parse(*text, type);
      blob_types_.emplace(manifest.config.digest, manifest.config.media_type);
      for (const auto& layer : manifest.layers) blob_types_.emplace(layer.digest, layer.media_type);
    }
  } catch (const Error&) {
    return;
  }
}

std::optional<std::string> ServedLayouts::read(const Digest& digest, std::uint64_t limit) const {
  const auto blob = open(digest);
  if (!blob) return std::nullopt;
  return read_all(*blob, limit);
}

std::optional<OpenBlob> ServedLayouts::open(const Digest& digest) const {
  for (const auto& blobs : blob_folders_) {
    const auto folder = open_below(blobs.descriptor(), std::string(digest.algorithm()), O_DIRECTORY);
    if (!folder.is_open()) continue;
    auto blob = regular_file(open_below(folder.descriptor(), std::string(digest.hex()), 0));
    if (blob) return blob;
  }
  return std::nullopt;
}

std::optional<Digest> ServedLayouts::find(std::string_view repository, std::string_view tag) const {
  const auto* names = tags(repository);
  if (names == nullptr) return std::nullopt;
  const auto found = names->find(tag);
  if (found == names->end()) return std::nullopt;
  return found->second;
}

const std::string* ServedLayouts::manifest_type(const Digest& digest) const {
  const auto found = manifest_types_.find(digest);
  return found == manifest_types_.end() ? nullptr : &found->second;
}

std::string ServedLayouts::blob_type(const Digest& digest) const {
  const auto found = blob_types_.find(digest);
  return found == blob_types_.end() ? "application/octet-stream" : found->second;
}

const std::map<std::string, Digest, std::less<>>* ServedLayouts::tags(std::string_view repository) const {
  const auto found = repositories_.find(repository);
  return found == repositories_.end() ? nullptr : &found->second;
}

std::vector<std::string> ServedLayouts::repositories() const {
  std::vector<std::string> names;
  for (const auto& [name, tags] : repositories_) {
    if (!tags.empty()) names.push_back(name);
  }
  return names;
}

}  // namespace lazypull
