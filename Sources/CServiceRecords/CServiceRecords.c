#include "CServiceRecords.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <string.h>

#define ANSWER_MAX 65536

int peercache_services(const char *name, uint16_t server_port, struct peercache_service *services, int max, const char **reason) {
    struct __res_state state;
    memset(&state, 0, sizeof state);
    if (res_ninit(&state) != 0) {
        *reason = "the resolver cannot be set up";
        return -1;
    }
    if (server_port != 0) {
        state.nscount = 1;
        state.nsaddr_list[0].sin_family = AF_INET;
        state.nsaddr_list[0].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        state.nsaddr_list[0].sin_port = htons(server_port);
    }
    static __thread unsigned char answer[ANSWER_MAX];
    int length = res_nsearch(&state, name, ns_c_in, ns_t_srv, answer, sizeof answer);
    int error = state.res_h_errno;
    res_nclose(&state);
    if (length < 0) {
        *reason = error == HOST_NOT_FOUND ? "no such name"
            : error == NO_DATA            ? "the name has no SRV records"
            : error == TRY_AGAIN          ? "no name server answered"
                                          : "the name server refused";
        return error == HOST_NOT_FOUND || error == NO_DATA ? -2 : -1;
    }
    ns_msg message;
    if (ns_initparse(answer, length < ANSWER_MAX ? length : ANSWER_MAX, &message) != 0) {
        *reason = "the answer cannot be read";
        return -1;
    }
    int found = 0;
    for (int index = 0; index < ns_msg_count(message, ns_s_an); index += 1) {
        ns_rr record;
        if (ns_parserr(&message, ns_s_an, index, &record) != 0) break;
        if (ns_rr_type(record) != ns_t_srv || ns_rr_rdlen(record) < 7) continue;
        const unsigned char *data = ns_rr_rdata(record);
        struct peercache_service service = {.priority = ns_get16(data), .weight = ns_get16(data + 2), .port = ns_get16(data + 4)};
        if (dn_expand(ns_msg_base(message), ns_msg_end(message), data + 6, service.target, sizeof service.target) < 0) continue;
        if (service.target[0] == 0 || strcmp(service.target, ".") == 0) continue;  // "not offered here"
        if (found < max) services[found] = service;
        found += 1;
    }
    return found;
}
