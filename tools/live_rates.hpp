#pragma once

#include "engine/awaitable.hpp"
#include "engine/bandwidth.hpp"
#include "tools/prewarm_rates.hpp"

#include <boost/asio/signal_set.hpp>

#include <optional>
#include <string>

namespace lazypull {

/// Sets the bandwidth of each class, and sets it anew at every SIGHUP from the file, if there is one. What is
/// wrong with the file then goes to standard error, and the rates stay as they are.
class LiveRates {
 public:
  /// What the file says goes before `rates`; without a file SIGHUP is left alone. `bandwidth` must outlive
  /// this, and this is to go before the executor's context. Throws Error{invalid_argument} for the file.
  LiveRates(const asio::any_io_executor& home, Bandwidth& bandwidth, ClassRates rates, std::string file);
  LiveRates(const LiveRates&) = delete;
  LiveRates& operator=(const LiveRates&) = delete;

 private:
  void set();
  void await_signal();

  Bandwidth& bandwidth_;
  ClassRates rates_;
  std::string file_;
  std::optional<asio::signal_set> signals_;
};

}  // namespace lazypull
