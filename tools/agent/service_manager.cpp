#include "tools/agent/service_manager.hpp"

#include "tools/snapshotter_notify.hpp"

#include <chrono>

namespace lazypull {

void ServiceManager::ready(std::string_view status) const {
  notify_service_manager(socket_, "READY=1\nSTATUS=" + std::string(status));
}

void ServiceManager::reloading() const {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  notify_service_manager(socket_, "RELOADING=1\nMONOTONIC_USEC=" + std::to_string(microseconds));
}

void ServiceManager::stopping() const {
  notify_service_manager(socket_, "STOPPING=1\nSTATUS=letting pulls finish");
}

}  // namespace lazypull
