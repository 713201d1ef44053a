#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace lazypull {

namespace asio = boost::asio;

/// What every function that awaits returns. All of them run on the home thread: the one io_context, run by
/// one thread, that the pull was started on. Arguments taken by reference must outlive the await, so a
/// function that is spawned into a TaskGroup takes its arguments by value or refers to what outlives the
/// group.
template <class T = void>
using Awaitable = asio::awaitable<T>;

}  // namespace lazypull
