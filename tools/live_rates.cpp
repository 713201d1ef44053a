#include "tools/live_rates.hpp"

#include "engine/error.hpp"
#include "tools/text.hpp"

#include <csignal>
#include <cstdio>
#include <utility>

namespace lazypull {

LiveRates::LiveRates(const asio::any_io_executor& home, Bandwidth& bandwidth, ClassRates rates,
                     std::string file)
    : bandwidth_(bandwidth), rates_(std::move(rates)), file_(std::move(file)) {
  set();
  if (file_.empty()) return;
  signals_.emplace(home, SIGHUP);
  await_signal();
}

void LiveRates::set() {
  ClassRates rates = rates_;
  if (!file_.empty()) {
    for (const auto& [pull_class, rate] : read_class_rates(file_)) rates[pull_class] = rate;
  }
  for (const auto pull_class : {PullClass::serving, PullClass::prewarm}) {
    const auto found = rates.find(pull_class);
    bandwidth_.set_rate(pull_class, found == rates.end() ? 0 : found->second);
  }
}

void LiveRates::await_signal() {
  signals_->async_wait([this](const boost::system::error_code& error, int /*signal*/) {
    if (error) return;
    try {
      set();
    } catch (const Error& failure) {
      std::fprintf(stderr, "lazypull: the rates stay as they are: %s\n",
                   printable(failure.message()).c_str());
    }
    await_signal();
  });
}

}  // namespace lazypull
