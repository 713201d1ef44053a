// The scheduler of prewarm runs alone: what it costs in time and memory for ever more images, with fakes for
// all that takes real time, and virtual time.

#include "tests/support/scheduler_model.hpp"

#include <algorithm>
#include <benchmark/benchmark.h>
#include <cstddef>
#include <cstdlib>
#include <malloc.h>
#include <new>

namespace {

std::size_t live_bytes = 0;
std::size_t peak_bytes = 0;

}  // namespace

// Counts what is alive; the benchmark has one thread.
void* operator new(std::size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  live_bytes += ::malloc_usable_size(memory);
  peak_bytes = std::max(peak_bytes, live_bytes);
  return memory;
}
void operator delete(void* memory) noexcept {
  live_bytes -= ::malloc_usable_size(memory);
  std::free(memory);
}
void operator delete(void* memory, std::size_t /*size*/) noexcept {
  ::operator delete(memory);
}

namespace lazypull::test {
namespace {

void prewarm(benchmark::State& state) {
  const auto images = static_cast<std::size_t>(state.range(0));
  const auto registries = static_cast<std::size_t>(state.range(1));
  PullLimits limits;
  limits.downloads = {8, 4, 64U << 20U};
  limits.unpacks = 4;
  std::size_t steps = 0;
  std::size_t peak = 0;
  double virtual_seconds = 0;
  for (auto _ : state) {
    const std::size_t before = live_bytes;
    peak_bytes = live_bytes;
    const ModelFleet fleet(images, registries);
    VirtualTime time;
    PullShared shared(limits);
    SchedulerModel model(time, shared, fleet);
    PrewarmReport report(fleet.items());
    PrewarmOptions options;
    time.run(prewarm_images(options, model.pull(), report));
    const bool as_it_should =
        report.ready == images && model.fetches == fleet.distinct_layers() &&
        model.unpacks == fleet.distinct_layers() && model.most_downloads <= limits.downloads.total &&
        model.most_of_a_registry <= limits.downloads.per_registry &&
        model.most_bytes <= limits.downloads.bytes && model.most_unpacks <= limits.unpacks;
    if (!as_it_should) state.SkipWithError("a limit was exceeded, or something was done twice");
    steps = time.steps();
    peak = peak_bytes - before;
    virtual_seconds = std::chrono::duration<double>(time.now()).count();
  }
  const auto layers = static_cast<double>(images * ModelFleet::layers_of_an_image);
  state.counters["layers/s"] = benchmark::Counter(layers, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["steps/layer"] = static_cast<double>(steps) / layers;
  state.counters["peak MiB"] = static_cast<double>(peak) / (1U << 20U);
  state.counters["bytes/image"] = static_cast<double>(peak) / static_cast<double>(images);
  state.counters["virtual s"] = virtual_seconds;
  state.SetComplexityN(state.range(0));
}

}  // namespace
}  // namespace lazypull::test

BENCHMARK(lazypull::test::prewarm)
    ->ArgNames({"images", "registries"})
    ->Args({1000, 4})
    ->Args({2000, 4})
    ->Args({10'000, 4})
    ->Unit(benchmark::kMillisecond)
    ->Complexity(benchmark::oN);
BENCHMARK(lazypull::test::prewarm)
    ->Name("prewarm from many registries")
    ->ArgNames({"images", "registries"})
    ->Args({10'000, 100})
    ->Unit(benchmark::kMillisecond);

BENCHMARK_MAIN();
