option(LAZYPULL_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(LAZYPULL_WERROR "Treat warnings as errors" ON)
set(LAZYPULL_SANITIZE "" CACHE STRING "Comma-separated sanitizers, such as address,undefined or thread")

# Warnings and sanitizers of our own code; generated code and dependencies do not link this.
add_library(lazypull_options INTERFACE)
target_compile_options(lazypull_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
  -Wnull-dereference -Wimplicit-fallthrough)
if(LAZYPULL_WERROR)
  target_compile_options(lazypull_options INTERFACE -Werror)
endif()
if(LAZYPULL_SANITIZE)
  add_compile_options(-fsanitize=${LAZYPULL_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LAZYPULL_SANITIZE})
endif()
