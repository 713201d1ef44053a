#pragma once

#include "engine/event.hpp"
#include "engine/image_tree.hpp"
#include "engine/layer_fetch.hpp"
#include "engine/pull_context.hpp"
#include "engine/task_group.hpp"

#include <cstddef>
#include <memory>
#include <vector>

namespace lazypull {

/// The downloads of one image. They are children of the image's task group, which this must outlive.
class Downloads {
 public:
  Downloads(PullContext& context, const ImageNode& image, ImageReport& report,
            const asio::any_io_executor& executor)
      : context_(context), image_(image), report_(report) {
    jobs_.reserve(image.manifest.layers.size());
    for (std::size_t i = 0; i < image.manifest.layers.size(); ++i) {
      jobs_.push_back(std::make_shared<Job>(executor));
    }
  }

  void start(TaskGroup& group, std::size_t index, UnpackWish wish) {
    const auto& job = jobs_[index];
    if (job->started) return;
    job->started = true;
    job->handle = group.spawn(run(index, wish, job));
  }

  /// Nothing of ours is needed for the layer after all; if that turns out to be wrong it is started anew.
  void drop(std::size_t index, const asio::any_io_executor& executor) {
    auto& job = jobs_[index];
    if (!job->started) return;
    job->handle.drop();
    job = std::make_shared<Job>(executor);
  }

  Awaitable<> wait(std::size_t index) { return jobs_[index]->ready.wait(); }

  /// What came of it, once `wait` has returned.
  FetchedLayer& result(std::size_t index) { return jobs_[index]->result; }

 private:
  struct Job {
    explicit Job(const asio::any_io_executor& executor) : ready(executor) {}
    bool started = false;
    TaskGroup::Handle handle;
    Event ready;
    FetchedLayer result;
  };

  Awaitable<> run(std::size_t index, UnpackWish wish, std::shared_ptr<Job> job) {
    job->result = co_await fetch_layer(context_, image_.manifest.layers[index], report_.layers[index], wish);
    job->ready.set();
  }

  PullContext& context_;
  const ImageNode& image_;
  ImageReport& report_;
  std::vector<std::shared_ptr<Job>> jobs_;
};

}  // namespace lazypull
