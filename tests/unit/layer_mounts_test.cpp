// Images of layers, mounted through loop devices.

#include "engine/error.hpp"
#include "snapshot/remote/image_mount.hpp"
#include "snapshot/remote/remote_layers.hpp"
#include "tests/support/alone.hpp"
#include "tests/support/process.hpp"
#include "tests/support/published_layer.hpp"
#include "tests/support/store_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <future>
#include <set>
#include <string>
#include <unistd.h>
#include <vector>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A file of each kind that a layer uses overlayfs's form for, and what must survive an image.
void fill(const fs::path& tree) {
  write_file(tree / "bin/su", "root shell");
  ASSERT_EQ(::chown((tree / "bin/su").c_str(), 1, 2), 0);
  ASSERT_EQ(::chmod((tree / "bin/su").c_str(), 04755), 0);
  const std::array<::timespec, 2> times{
      {{.tv_sec = 1'000'000'000, .tv_nsec = 0}, {.tv_sec = 1'000'000'000, .tv_nsec = 0}}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (tree / "bin/su").c_str(), times.data(), 0), 0);
  ASSERT_EQ(::setxattr((tree / "bin/su").c_str(), "user.note", "kept", 4, 0), 0);
  fs::create_hard_link(tree / "bin/su", tree / "bin/sudo");
  fs::create_symlink("su", tree / "bin/link");
  ASSERT_EQ(::mknod((tree / "gone").c_str(), S_IFCHR, 0), 0);
  fs::create_directory(tree / "opaque");
  ASSERT_EQ(::setxattr((tree / "opaque").c_str(), "trusted.overlay.opaque", "y", 1, 0), 0);
}

std::set<std::string> loop_devices_in_use() {
  std::set<std::string> used;
  for (const auto& entry : fs::directory_iterator("/sys/block")) {
    if (fs::exists(entry.path() / "loop/backing_file")) used.insert(entry.path().filename());
  }
  return used;
}

/// Of those loop devices, the ones whose file is below `folder`.
std::size_t loops_below(const fs::path& folder) {
  std::size_t count = 0;
  for (const auto& name : loop_devices_in_use()) {
    std::error_code gone;
    const auto file = fs::path("/sys/block") / name / "loop/backing_file";
    if (fs::exists(file, gone) && read_file(file).starts_with(folder.string())) ++count;
  }
  return count;
}

class Images : public ::testing::TestWithParam<LayerFormat> {
 protected:
  void SetUp() override { ASSERT_EQ(::geteuid(), 0U) << "these tests need root"; }

  RemoteLayersOptions options() {
    RemoteLayersOptions made;
    made.storages = {folder / "storage"};
    made.mounts = folder / "mounts";
    made.patience = std::chrono::hours(1);
    return made;
  }
  RemoteLayer publish(const std::string& blob = "blob", const FillFolder& with = fill) {
    return publish_layer(folder / "storage", blob, GetParam(), with);
  }
  std::size_t mount_count() const { return mounts_in(folder / "mounts").size(); }

  std::string failure_message(const RemoteLayer& layer) {
    try {
      layers.attach(layer);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::failed_precondition);
      return error.message();
    }
    return "it was attached";
  }

  TempDir folder{"images"};
  RemoteLayers layers{options()};
};

INSTANTIATE_TEST_SUITE_P(All, Images, ::testing::Values(LayerFormat::erofs, LayerFormat::squashfs),
                         [](const auto& info) {
                           return info.param == LayerFormat::erofs ? "Erofs" : "Squashfs";
                         });

TEST_P(Images, AttachingMountsTheImageReadOnly) {
  const auto layer = publish();
  const auto place = layers.attach(layer);
  EXPECT_EQ(place, fs::canonical(folder / "mounts") / layer.record.digest.hex());
  EXPECT_EQ(read_file(place / "bin/su"), "root shell");
  struct ::statvfs status{};
  ASSERT_EQ(::statvfs(place.c_str(), &status), 0);
  EXPECT_TRUE(status.f_flag & ST_RDONLY);
  EXPECT_TRUE(status.f_flag & ST_NODEV);
  EXPECT_FALSE(status.f_flag & ST_NOSUID);
  EXPECT_THAT(layers.attached(), ElementsAre(layer.record.digest));
}

TEST_P(Images, FilesKeepWhatTheyHad) {
  const auto place = layers.attach(publish());
  struct ::stat status{};
  ASSERT_EQ(::lstat((place / "bin/su").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, static_cast<::mode_t>(S_IFREG | 04755));
  EXPECT_EQ(status.st_uid, 1U);
  EXPECT_EQ(status.st_gid, 2U);
  EXPECT_EQ(status.st_nlink, 2U);
  EXPECT_EQ(status.st_mtim.tv_sec, 1'000'000'000);
  std::array<char, 8> value{};
  EXPECT_EQ(::getxattr((place / "bin/su").c_str(), "user.note", value.data(), value.size()), 4);
  EXPECT_EQ(fs::read_symlink(place / "bin/link"), "su");
}

TEST_P(Images, WhiteoutsAndOpaqueDirectoriesAreOverlayfss) {
  const auto place = layers.attach(publish());
  struct ::stat status{};
  ASSERT_EQ(::lstat((place / "gone").c_str(), &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode) && status.st_rdev == 0);
  std::array<char, 8> value{};
  ASSERT_EQ(::getxattr((place / "opaque").c_str(), "trusted.overlay.opaque", value.data(), value.size()), 1);
  EXPECT_EQ(value[0], 'y');
}

TEST_P(Images, OverlayfsMergesThem) {
  const auto lower = publish("lower", [](const fs::path& tree) {
    write_file(tree / "gone", "1");
    write_file(tree / "opaque/hidden", "2");
    write_file(tree / "below", "3");
  });
  const auto upper = layers.attach(publish());
  const auto merged = folder / "merged";
  fs::create_directory(merged);
  const auto lowerdir = "lowerdir=" + upper.string() + ":" + layers.attach(lower).string();
  ASSERT_EQ(::mount("overlay", merged.c_str(), "overlay", MS_RDONLY, lowerdir.c_str()), 0);
  EXPECT_FALSE(fs::exists(merged / "gone"));
  EXPECT_TRUE(fs::is_empty(merged / "opaque"));
  EXPECT_EQ(read_file(merged / "below"), "3");
  // What lies above stays usable.
  layers.detach(lower.record.digest);
  EXPECT_EQ(read_file(merged / "below"), "3");
}

TEST_P(Images, TheSameFilesMakeTheSameImage) {
  const auto layer = publish();
  const auto bytes = read_file(layer.data);
  fs::remove_all(layer.data.parent_path());
  const auto dated = [](const fs::path& tree) {
    fill(tree);
    const std::array<::timespec, 2> times{
        {{.tv_sec = 1'700'000'000, .tv_nsec = 0}, {.tv_sec = 1'700'000'000, .tv_nsec = 0}}};
    for (const char* name : {"gone", "opaque", "bin/link", "bin", ""}) {
      ASSERT_EQ(::utimensat(AT_FDCWD, (tree / name).c_str(), times.data(), AT_SYMLINK_NOFOLLOW), 0);
    }
  };
  const auto first = read_file(publish("same", dated).data);
  fs::remove_all(folder / "storage");
  EXPECT_EQ(read_file(publish("same", dated).data), first);
}

TEST_P(Images, AttachingAgainIsNothingNew) {
  const auto layer = publish();
  const auto place = layers.attach(layer);
  EXPECT_EQ(layers.attach(layer), place);
  EXPECT_EQ(mount_count(), 1U);
  RemoteLayers others(options());
  EXPECT_EQ(others.attach(layer), place);
  EXPECT_EQ(mount_count(), 1U);
}

TEST_P(Images, DetachingLeavesNothing) {
  const auto layer = publish();
  layers.attach(layer);
  layers.detach(layer.record.digest);
  EXPECT_THAT(layers.attached(), IsEmpty());
  EXPECT_EQ(entries_in(folder / "mounts"), 0U);
  wait_until([&] { return loops_below(folder.path()) == 0; }, "the loop device to be freed");
  layers.detach(layer.record.digest);
  layers.detach(Digest::sha256_of("never seen"));
}

TEST_P(Images, ADetachedImageIsAttachedAgain) {
  const auto layer = publish();
  layers.detach(layer.record.digest);
  layers.attach(layer);
  layers.detach(layer.record.digest);
  EXPECT_EQ(read_file(layers.attach(layer) / "bin/su"), "root shell");
}

TEST_P(Images, ManyThreadsAttachOneImageOnce) {
  const auto layer = publish();
  std::vector<std::future<fs::path>> threads;
  for (int i = 0; i < 16; ++i) {
    threads.push_back(std::async(std::launch::async, [&] { return layers.attach(layer); }));
  }
  for (auto& thread : threads) EXPECT_EQ(read_file(thread.get() / "bin/su"), "root shell");
  EXPECT_EQ(mount_count(), 1U);
  EXPECT_EQ(loops_below(folder.path()), 1U);
}

TEST_P(Images, ThreadsThatAttachAndDetachLeaveNoHalfMadeMount) {
  const auto layer = publish();
  std::vector<std::future<void>> threads;
  for (int i = 0; i < 4; ++i) {
    threads.push_back(std::async(std::launch::async, [&, i] {
      for (int j = 0; j < 10; ++j) {
        layers.attach(layer);
        if ((i + j) % 2 == 0) layers.detach(layer.record.digest);
      }
    }));
  }
  for (auto& thread : threads) thread.get();
  layers.detach(layer.record.digest);
  EXPECT_EQ(entries_in(folder / "mounts"), 0U);
  EXPECT_EQ(mount_count(), 0U);
}

TEST_P(Images, SeveralProcessesAttachSeveralImagesOnce) {
  std::vector<RemoteLayer> published;
  for (int i = 0; i < 6; ++i) published.push_back(publish("layer" + std::to_string(i)));
  std::vector<::pid_t> children;
  ASSERT_TRUE(becomes_the_only_thread());
  for (int i = 0; i < 4; ++i) {
    const auto child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      bool good = true;
      try {
        RemoteLayers others(options());
        for (const auto& layer : published) {
          good = good && read_file(others.attach(layer) / "bin/su") == "root shell";
        }
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        good = false;
      }
      ::_exit(good ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const auto child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(mount_count(), published.size());
  EXPECT_EQ(layers.attached().size(), published.size());
}

TEST_P(Images, ACorruptSuperblockIsAClearErrorAndLeavesNothing) {
  const auto layer = publish();
  auto bytes = read_file(layer.data);
  for (std::size_t i = 0; i < 2048; ++i) bytes[i] = 'x';
  write_file(layer.data, bytes);
  EXPECT_THAT(failure_message(layer),
              AllOf(HasSubstr(layer.record.digest.str()), HasSubstr(layer.data.string())));
  EXPECT_EQ(entries_in(folder / "mounts"), 0U);
  EXPECT_EQ(loops_below(folder.path()), 0U);
}

TEST_P(Images, AnImageThatTheKernelRefusesLeavesNothing) {
  const auto layer = publish();
  auto bytes = read_file(layer.data);
  // Past what we look at ourselves: the version of squashfs, the place of the root of EROFS.
  const std::size_t at = GetParam() == LayerFormat::erofs ? 1024 + 14 : 28;
  bytes[at] = bytes[at + 1] = '\x77';
  write_file(layer.data, bytes);
  EXPECT_THAT(failure_message(layer), HasSubstr("cannot be mounted"));
  EXPECT_EQ(entries_in(folder / "mounts"), 0U);
  wait_until([&] { return loops_below(folder.path()) == 0; }, "the loop device to be freed");
}

TEST_P(Images, ATruncatedImageIsAClearError) {
  const auto noise = [](const fs::path& tree) { write_file(tree / "noise", make_content(100'000)); };
  auto layer = publish("noise", noise);
  fs::resize_file(layer.data, 8192);
  EXPECT_THAT(failure_message(layer), HasSubstr("8192 bytes"));
  layer.record.image_size = 8192;
  EXPECT_THAT(failure_message(layer), HasSubstr("8192 bytes")) << "the image itself knows how long it is";
  EXPECT_EQ(entries_in(folder / "mounts"), 0U);
}

TEST_P(Images, AnImageThatHasGoneIsNotFound) {
  const auto layer = publish();
  fs::remove(layer.data);
  EXPECT_EQ(failure_of([&] { layers.attach(layer); }), Errc::not_found);
  fs::remove_all(folder / "storage");
  EXPECT_EQ(failure_of([&] { layers.attach(layer); }), Errc::not_found);
  EXPECT_EQ(entries_in(folder / "mounts"), 0U);
}

TEST(Mountinfo, IsReadWithItsEscapes) {
  const auto mounts = parse_mountinfo(
      "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
      "30 22 7:0 / /var/with\\040blank ro,nodev - erofs /dev/loop0 ro\n"
      "31 22 0:5 / /none rw shared:2 master:1 - tmpfs none rw\n");
  ASSERT_EQ(mounts.size(), 3U);
  EXPECT_EQ(mounts[1].target, "/var/with blank");
  EXPECT_EQ(mounts[1].type, "erofs");
  EXPECT_EQ(mounts[1].source, "/dev/loop0");
  EXPECT_EQ(mounts[2].type, "tmpfs");
}

TEST(Mountinfo, LinesThatMakeNoSenseAreLeftOut) {
  EXPECT_THAT(parse_mountinfo("\n - \n1 2 3 4 /a b -\nx"), IsEmpty());
  EXPECT_EQ(parse_mountinfo("1 2 3 4 /a\\04 b - t s").front().target, "/a\\04");
}

}  // namespace
}  // namespace lazypull::test
