#pragma once

/// Keeps the calling thread on one core; Swift does not see the C library's function. Returns 0, or -1 where the system knows no such thing.
int peercache_bench_pin(int core);

/// Bytes that this process has sent over the TCP connections that it has now. 0 where the system does not tell.
unsigned long long peercache_bench_bytes_sent(void);
