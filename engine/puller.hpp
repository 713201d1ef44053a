#pragma once

#include "engine/ports.hpp"
#include "engine/pull_options.hpp"
#include "engine/pull_report.hpp"
#include "engine/pull_shared.hpp"
#include "engine/reference.hpp"

namespace lazypull {

/// What a pull works with; all of it must outlive the pull.
struct PullPorts {
  Resolver& resolver;
  Fetcher& fetcher;
  LeaseManager& leases;
};

/// Pulls an image: resolve, manifests and configs, then for each chosen platform the layers that the
/// snapshotter cannot provide, then the image record. Everything happens under one lease, which is released
/// at the end whatever happens; a failed or cancelled pull leaves no active snapshot and no lease, and at
/// most a partial ingest from which the next pull goes on. Throws Error with "pull REFERENCE: …". `report` is
/// kept up to date while the pull runs.
Awaitable<> pull_image(PullPorts ports, Reference reference, PullOptions options, PullReport& report);

/// The same, beside other pulls with which it shares downloads, snapshots and limits; those of `shared` hold
/// instead of the options' max_concurrent_downloads. Each pull has a lease of its own, which protects also
/// what others have made for it.
Awaitable<> pull_image(PullPorts ports, Reference reference, PullOptions options, PullReport& report,
                       PullShared& shared, PullRank rank);

/// Finds out what `pull_image` would do, layer by layer, and leaves nothing changed: trial snapshots that the
/// snapshotter provides are collected when the lease ends. Layers above the first one that must be downloaded
/// cannot be asked for; they are reported as downloads, those with `remote_hint` as likely to be mounted.
Awaitable<> plan_image(PullPorts ports, Reference reference, PullOptions options, PullReport& report);
Awaitable<> plan_image(PullPorts ports, Reference reference, PullOptions options, PullReport& report,
                       PullShared& shared, PullRank rank);

}  // namespace lazypull
