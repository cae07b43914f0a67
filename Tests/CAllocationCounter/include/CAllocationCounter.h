#ifndef PEERCACHE_ALLOCATION_COUNTER_H
#define PEERCACHE_ALLOCATION_COUNTER_H

#include <stdint.h>

/// Allocations of the calling thread since it began, or -1 where they cannot be counted (not glibc, or under a sanitizer).
int64_t peercache_test_allocations(void);

#endif
