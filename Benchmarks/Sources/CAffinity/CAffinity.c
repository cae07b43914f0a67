#define _GNU_SOURCE
#include "CAffinity.h"

#ifdef __linux__
#include <sched.h>

int peercache_bench_pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    return sched_setaffinity(0, sizeof set, &set);
}
#else
int peercache_bench_pin(int core) {
    (void)core;
    return -1;
}
#endif
