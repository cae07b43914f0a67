#ifndef C_SERVICE_RECORDS_H
#define C_SERVICE_RECORDS_H

#include <stdint.h>

// One SRV record (RFC 2782).
struct peercache_service {
    uint16_t priority, weight, port;
    char target[256];
};

// Asks DNS for the SRV records of a name. Blocks. Returns how many there are, at most `max` of which are stored, or with the reason in
// `*reason`, which lives for ever, -1, or -2 when there is no such name or record.
// `server_port`: of a server on 127.0.0.1 to ask instead of the system's; 0: the system's.
int peercache_services(const char *name, uint16_t server_port, struct peercache_service *services, int max, const char **reason);

#endif
