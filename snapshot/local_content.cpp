#include "snapshot/local_content.hpp"

#include "engine/digest.hpp"
#include "engine/error.hpp"
#include "engine/sha256_state.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/embedded/ingest_checkpoint.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstddef>
#include <fcntl.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace lazypull {

namespace {

constexpr std::size_t piece_bytes = 4U << 20U;
constexpr std::size_t file_threads = 4;

/// Whether containerd's name of an ingest is that of `ref` in the namespace: "default/17/layer-sha256:…".
bool is_name_of(std::string_view name, std::string_view name_space, std::string_view ref) {
  if (!name.starts_with(name_space) || !name.ends_with(ref)) return false;
  if (name.size() < name_space.size() + ref.size() + 3) return false;
  const auto number = name.substr(name_space.size(), name.size() - name_space.size() - ref.size());
  const auto digits = number.substr(1, number.size() - 2);
  return number.front() == '/' && number.back() == '/' &&
         std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

std::uint64_t size_of(const UniqueFd& file, const std::filesystem::path& name) {
  struct ::stat status{};
  if (::fstat(file.get(), &status) != 0) throw_errno("stat " + name.string());
  return static_cast<std::uint64_t>(status.st_size);
}

void flush(const UniqueFd& file, const std::filesystem::path& name) {
  if (::fsync(file.get()) != 0) throw_errno("flush " + name.string());
}

}  // namespace

/// An ingest whose file we write.
class LocalIngest final : public Ingest {
 public:
  LocalIngest(LocalContent& local, ContainerdContent& content, std::unique_ptr<ContainerdIngest> held,
              std::string ref, Descriptor descriptor, std::filesystem::path folder, UniqueFd file)
      : local_(local),
        content_(content),
        held_(std::move(held)),
        ref_(std::move(ref)),
        descriptor_(std::move(descriptor)),
        folder_(std::move(folder)),
        file_(std::move(file)),
        offset_(held_->offset()),
        hasher_(descriptor_.digest.algorithm()),
        checkpoint_(folder_ / "data", descriptor_.digest) {}

  std::uint64_t offset() const noexcept override { return offset_; }

  /// Goes on from how far an earlier try has got with digesting what it has left.
  Awaitable<> resume() {
    std::uint64_t done = 0;
    auto job = [this, &done] {
      const auto state = checkpoint_.load(file_, offset_);
      resumed_ = state && hasher_.resume(*state);
      if (resumed_) done = state->bytes;
    };
    if (offset_ > 0) co_await local_.files_->run(std::move(job));
    co_await catch_up(done);
  }

  /// Digests what is there, from a byte on.
  Awaitable<> catch_up(std::uint64_t done = 0) {
    while (done < offset_) {
      auto job = [this, &done] {
        std::vector<std::byte> buffer(std::min<std::uint64_t>(piece_bytes, offset_ - done));
        const auto got = read_at(file_, buffer, done, data());
        if (got == 0) throw Error(Errc::internal, "ingest " + ref_ + " has shrunk");
        hasher_.update(std::span(buffer).first(got));
        done += got;
      };
      co_await local_.files_->run(std::move(job));
    }
  }

  Awaitable<void> write(std::span<const std::byte> bytes) override {
    if (bytes.size() > descriptor_.size - offset_) {
      throw Error(Errc::size_mismatch,
                  "ingest " + ref_ + ": more than " + std::to_string(descriptor_.size) + " bytes");
    }
    auto job = [this, bytes] {
      hasher_.update(bytes);
      write_at(file_, bytes, offset_, data());
      offset_ += bytes.size();
      // As soon after the write as can be: it holds for the file as it is now.
      if (const auto state = hasher_.state()) checkpoint_.save(file_, offset_, *state);
    };
    co_await local_.files_->run(std::move(job));
  }

  Awaitable<CommitOutcome> commit(const Labels& labels) override {
    const bool held = co_await held_->still_held();
    if (!held) {
      const bool there = co_await hold_again();
      if (there) co_return CommitOutcome::already_exists;
    }
    co_await verify();
    auto job = [this] { put_among_blobs(); };
    co_await local_.files_->run(std::move(job));
    co_await held_->close();
    const auto adopted = co_await content_.open_ingest(ref_, descriptor_);
    if (!adopted) co_return CommitOutcome::already_exists;
    if (adopted->offset() < descriptor_.size) co_await send(*adopted);
    co_return co_await adopted->commit(labels);
  }

 private:
  std::filesystem::path data() const { return folder_ / "data"; }

  /// containerd was away, and anybody may have had the ingest since: what is in its file now is what counts.
  /// True if it has become content.
  Awaitable<bool> hold_again() {
    co_await held_->close();
    held_ = co_await content_.open_ingest(ref_, descriptor_);
    if (!held_) co_return true;
    if (held_->offset() != offset_) {
      throw Error(Errc::unavailable, "ingest " + ref_ + " was changed while containerd was away");
    }
    hasher_ = ResumableHasher(descriptor_.digest.algorithm());
    resumed_ = false;
    co_await catch_up();
    co_return false;
  }

  /// What cannot become the content is dropped, so that the next try starts anew.
  Awaitable<> verify() {
    std::optional<Error> wrong;
    if (offset_ != descriptor_.size) {
      wrong.emplace(Errc::size_mismatch, "ingest " + ref_ + " has " + std::to_string(offset_) +
                                             " bytes, not " + std::to_string(descriptor_.size));
    } else if (const auto actual = co_await digest(); actual != descriptor_.digest) {
      wrong.emplace(Errc::digest_mismatch,
                    "ingest " + ref_ + " is " + actual.str() + ", not " + descriptor_.digest.str());
    }
    if (!wrong) co_return;
    co_await held_->close();
    co_await content_.abort(ref_);  // holds it anew, unless it has become somebody else's
    throw *wrong;
  }

  Awaitable<Digest> digest() {
    auto actual = hasher_.finish();
    if (!resumed_ || actual == descriptor_.digest) co_return actual;
    // Either the bytes are wrong or the state was: the bytes tell.
    hasher_ = ResumableHasher(descriptor_.digest.algorithm());
    co_await catch_up();
    actual = hasher_.finish();
    co_return actual;
  }

  /// While containerd still keeps others from the ingest: whoever opens it from now on finds nothing in it.
  void put_among_blobs() {
    const auto blob = local_.blob(descriptor_.digest);
    if (size_of(file_, data()) != descriptor_.size) {
      throw Error(Errc::internal, "ingest " + ref_ + " was changed by somebody else");
    }
    flush(file_, data());
    if (::fchmod(file_.get(), 0444) != 0) throw_errno("chmod " + data().string());
    std::filesystem::create_directories(blob.parent_path());
    if (::link(data().c_str(), blob.c_str()) != 0 && errno != EEXIST) {
      throw_errno("link " + data().string() + " to " + blob.string());
    }
    delete_tree(folder_);
    flush(open_file(blob.parent_path(), O_RDONLY | O_DIRECTORY), blob.parent_path());
  }

  Awaitable<> send(ContainerdIngest& into) {
    local_.adopts_ = false;
    std::vector<std::byte> buffer(piece_bytes);
    for (std::uint64_t sent = into.offset(); sent < descriptor_.size;) {
      auto job = [&] { return read_at(file_, buffer, sent, data()); };
      const std::size_t got = co_await local_.files_->run(std::move(job));
      if (got == 0) throw Error(Errc::internal, "ingest " + ref_ + " has shrunk");
      co_await into.write(std::span<const std::byte>(buffer).first(got));
      sent += got;
    }
  }

  LocalContent& local_;
  ContainerdContent& content_;
  std::unique_ptr<ContainerdIngest> held_;
  std::string ref_;
  Descriptor descriptor_;
  std::filesystem::path folder_;
  UniqueFd file_;
  std::uint64_t offset_;
  ResumableHasher hasher_;
  IngestCheckpoint checkpoint_;
  bool resumed_ = false;  ///< from what an earlier try has left of its digest
};

LocalContent::LocalContent(std::filesystem::path root, std::string name_space)
    : root_(std::move(root)), name_space_(std::move(name_space)) {}

std::filesystem::path LocalContent::blob(const Digest& digest) const {
  return root_ / "blobs" / std::string(digest.algorithm()) / std::string(digest.hex());
}

bool LocalContent::is_among_blobs(const Descriptor& descriptor) const {
  const auto status = stat_of(blob(descriptor.digest));
  return status && static_cast<std::uint64_t>(status->st_size) == descriptor.size;
}

/// Empty if it is not to be seen from here.
std::filesystem::path LocalContent::ingest_folder(const std::string& ref) const {
  constexpr std::uint64_t longest_name = 4096;
  const auto ingests = root_ / "ingest";
  for (const auto& name : names_in(ingests)) {
    const auto folder = ingests / name;
    try {
      if (is_name_of(read_text(folder / "ref", longest_name), name_space_, ref)) return folder;
    } catch (const Error&) {
      continue;  // another one, which has just ended
    }
  }
  return {};
}

Awaitable<std::unique_ptr<Ingest>> LocalContent::ingest(ContainerdContent& content, const std::string& ref,
                                                        const Descriptor& descriptor) {
  auto held = co_await content.open_ingest(ref, descriptor);
  if (!adopts_ || descriptor.digest.algorithm() != "sha256") co_return held;
  if (held && held->offset() == 0 && is_among_blobs(descriptor)) {
    // Another process has put it there while containerd made us wait for the ingest: now it can be adopted.
    co_await held->close();
    held = co_await content.open_ingest(ref, descriptor);
    if (held && held->offset() == 0) {
      adopts_ = false;  // it is of a namespace that does not share
      co_return held;
    }
  }
  if (!held || held->offset() == descriptor.size) co_return held;
  std::filesystem::path folder;
  UniqueFd file;
  auto find = [&] {
    folder = ingest_folder(ref);
    if (folder.empty()) return;
    const auto data = folder / "data";
    file = open_file(data, O_RDWR | O_NOFOLLOW);
    if (held->offset() == 0 && ::ftruncate(file.get(), 0) != 0) throw_errno("truncate " + data.string());
    if (size_of(file, data) != held->offset()) file.reset();
  };
  if (!files_) files_.emplace(file_threads);
  co_await files_->run(std::move(find));
  if (!file) co_return held;
  auto opened = std::make_unique<LocalIngest>(*this, content, std::move(held), ref, descriptor,
                                              std::move(folder), std::move(file));
  co_await opened->resume();
  co_return opened;
}

}  // namespace lazypull
