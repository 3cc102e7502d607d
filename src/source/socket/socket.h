/** The socket source from the inside: socket.c, the plug-in; address.c, connecting and listening. */
#ifndef MR_SOURCE_SOCKET_SOCKET_H
#define MR_SOURCE_SOCKET_SOCKET_H

#include "source/reading.h"

#define MR_PEERS_MAX 64

struct socket_options {
    char *address, *listen;
    int64_t connect_timeout, retry_max, quiet_max;
};

/** What an address says: unix:/path, host:port, [::1]:port, or a port alone. */
struct mr_address {
    bool is_unix;
    char host[256]; /* or the path */
    char port[16];
};

/** is_listen: a port alone is one of 127.0.0.1, else a host must be there. MR_ECONFIG names key. */
mr_status mr_address_parse(const char *key, const char *text, struct mr_address *address_out, struct mr_err *err);

/**
 * A connection to the address, not blocking; waits for it up to timeout_us. MR_EINPUT says what failed.
 */
mr_status mr_address_connect(const struct mr_address *address, const char *text, int64_t timeout_us, int *fd_out,
                             struct mr_err *err);
/** A listening socket. A socket file that nobody listens at is removed. */
mr_status mr_address_listen(const struct mr_address *address, const char *text, int *fd_out, struct mr_err *err);

/** Whether only this machine reaches it. */
bool mr_address_is_local(const struct mr_address *address);

#endif
