#pragma once

#include "transport/duration.hpp"  // also hosts.toml has durations
