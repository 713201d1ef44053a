#pragma once

#include "engine/token_bucket.hpp"  // the engine has a budget for each class of pulls
