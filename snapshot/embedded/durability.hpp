#pragma once

#include "snapshot/embedded/layout.hpp"
#include "snapshot/embedded/metadata.hpp"

#include <functional>
#include <string>

namespace lazypull {

/// Of the running kernel: another one after every boot.
std::string current_boot_id();

/// Brings everything that the store has been given so far to the disk: the file system is flushed once, then
/// the database, with what `also` changes. What is written meanwhile is left for the next time.
void make_durable(const StoreLayout& layout, Metadata& metadata, const std::function<void(Rows&)>& also = {});

/// If the host has been booted since the store was last used, drops what had not been made durable: content,
/// snapshots, ingests and leases. True if it was so. Nobody else may be opening the store meanwhile.
bool recover_from_reboot(const StoreLayout& layout, Metadata& metadata, const std::string& boot_id);

}  // namespace lazypull
