#include "CThreadNumber.h"

#include <stdatomic.h>

_Thread_local unsigned peercache_thread_number_value = 0;
static atomic_uint count = 0;

unsigned peercache_thread_number_assign(void) {
    return peercache_thread_number_value = atomic_fetch_add(&count, 1) + 1;
}

unsigned peercache_thread_count(void) { return atomic_load(&count); }
