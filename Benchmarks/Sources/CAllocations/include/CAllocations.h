#pragma once

#include <stdint.h>

/// Allocations of the calling thread since it began; -1 where they cannot be counted (not glibc).
int64_t peercache_thread_allocations(void);

/// Allocations of all threads since the process began; -1 where they cannot be counted.
int64_t peercache_process_allocations(void);
