#pragma once

#include "engine/pull_report.hpp"
#include "tools/options.hpp"
#include "tools/progress_view.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace lazypull {

/// Where the driver gets from what it shows.
struct ProgressViews {
  std::function<std::vector<std::string>(Screen screen, std::chrono::nanoseconds elapsed)> frame;
  std::function<std::vector<std::string>()> lines;  ///< those that are new, where none can be drawn anew
};

/// Shows the progress of a pull on standard error until it is stopped; with ProgressMode::none it does
/// nothing. A pull that ends within a tenth of a second draws no live view at all.
class ProgressDriver {
 public:
  /// `report` must outlive it. `executor` is the home thread's.
  ProgressDriver(const boost::asio::any_io_executor& executor, const PullReport& report, ProgressMode mode);
  /// What the views refer to must outlive it.
  ProgressDriver(const boost::asio::any_io_executor& executor, ProgressViews views, ProgressMode mode);
  ProgressDriver(const ProgressDriver&) = delete;
  ProgressDriver& operator=(const ProgressDriver&) = delete;
  ~ProgressDriver();

  /// Draws the last frame and gives the cursor back. May be called again.
  void stop();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// What `automatic` stands for, by what standard error is; the other modes as they are.
ProgressMode resolve_progress_mode(ProgressMode mode, OutputFormat output);

/// Gives the cursor back if a live view has hidden it. Safe in a signal handler.
void restore_cursor() noexcept;

}  // namespace lazypull
