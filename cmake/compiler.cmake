# g++ before 13 silently miscompiles coroutines: temporaries with captures, `co_await (c ? a() : b())`
# and aggregates inside a co_await expression are destroyed twice or too early. Refuse it.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  message(FATAL_ERROR
    "g++ ${CMAKE_CXX_COMPILER_VERSION} silently miscompiles C++20 coroutines (use-after-free in "
    "co_await expressions). Configure with a preset (cmake --preset release) or with "
    "-DCMAKE_CXX_COMPILER=clang++-19.")
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
find_program(LAZYPULL_CCACHE ccache)
if(LAZYPULL_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${LAZYPULL_CCACHE}")
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  find_program(LAZYPULL_LLD NAMES ld.lld-19 ld.lld)
  if(LAZYPULL_LLD)
    add_link_options(-fuse-ld=${LAZYPULL_LLD})
  endif()
endif()
