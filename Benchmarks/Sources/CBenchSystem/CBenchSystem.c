#define _GNU_SOURCE
#include "CBenchSystem.h"

#ifdef __linux__
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

int peercache_bench_pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    return sched_setaffinity(0, sizeof set, &set);
}

unsigned long long peercache_bench_bytes_sent(void) {
    unsigned long long sum = 0;
    long limit = sysconf(_SC_OPEN_MAX);
    for (int descriptor = 0; descriptor < limit && descriptor < 65536; descriptor++) {
        struct tcp_info info;
        socklen_t length = sizeof info;
        if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &length) == 0
            && length >= offsetof(struct tcp_info, tcpi_bytes_sent) + sizeof info.tcpi_bytes_sent)
            sum += info.tcpi_bytes_sent;
    }
    return sum;
}
#else
int peercache_bench_pin(int core) {
    (void)core;
    return -1;
}

unsigned long long peercache_bench_bytes_sent(void) { return 0; }
#endif
