#include "snapshot/remote/work_folder.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <unistd.h>

namespace lazypull {
namespace {

constexpr std::string_view lock_suffix = ".lock";

bool is_file_of_name(const UniqueFd& file, const std::filesystem::path& name) {
  struct ::stat ours{};
  if (::fstat(file.get(), &ours) != 0) throw_errno("stat " + name.string());
  const auto there = stat_of(name);
  return there && there->st_ino == ours.st_ino;
}

/// Nobody holds the lock: the process is dead, or has not come to locking it yet, and then notices.
void remove_left_over(const std::filesystem::path& lock_name) {
  const UniqueFd lock(::open(lock_name.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!lock || !lock_file(lock, false, lock_name) || !is_file_of_name(lock, lock_name)) return;
  const auto name = lock_name.string();
  delete_tree(name.substr(0, name.size() - lock_suffix.size()));
  ::unlink(name.c_str());
}

void remove_left_overs(const std::filesystem::path& base) {
  for (const auto& name : names_in(base)) {
    if (!name.ends_with(lock_suffix)) continue;
    try {
      remove_left_over(base / name);
    } catch (const Error&) {
      continue;  // it stays for the next one: what others have left is no reason to fail
    }
  }
}

}  // namespace

WorkFolder::WorkFolder(const std::filesystem::path& base) {
  if (::mkdir(base.c_str(), 0700) != 0 && errno != EEXIST) throw_errno("mkdir " + base.string());
  remove_left_overs(base);
  do {
    path_ = base / random_name();
    lock_name_ = path_;
    lock_name_ += lock_suffix;
    lock_ = open_file(lock_name_, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    lock_file(lock_, true, lock_name_);
  } while (!is_file_of_name(lock_, lock_name_));
  if (::mkdir(path_.c_str(), 0700) != 0) throw_errno("mkdir " + path_.string());
}

WorkFolder::~WorkFolder() {
  try {
    delete_tree(path_);
    ::unlink(lock_name_.c_str());
  } catch (const Error&) {
    lock_.reset();  // the next one tries again
  }
}

}  // namespace lazypull
