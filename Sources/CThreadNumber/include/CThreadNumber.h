#ifndef PEERCACHE_CTHREADNUMBER_H
#define PEERCACHE_CTHREADNUMBER_H

// Swift has no thread-local variables that cost as little as a load.
extern _Thread_local unsigned peercache_thread_number_value;

/// Gives the calling thread its number.
unsigned peercache_thread_number_assign(void);

/// How many threads have a number.
unsigned peercache_thread_count(void);

/// A number of the calling thread: 1, 2, ... in the order of their first calls. Never given out twice.
static inline unsigned peercache_thread_number(void) {
    unsigned number = peercache_thread_number_value;
    return number != 0 ? number : peercache_thread_number_assign();
}

#endif
