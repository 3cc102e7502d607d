/** Who may ask: the Host that a request names, and the token that it carries. */
#ifndef MR_HTTP_GUARD_H
#define MR_HTTP_GUARD_H

#include <stdbool.h>

#include "millrace/option.h"

/** Whether a Host header ("127.0.0.1:8420") names this server: an IP address, localhost, or one of the names, with any
 * port. Another name may be one that a foreign page has pointed here. Pure. */
bool mr_http_host_is_ours(const char *host, const struct mr_strings *names);

/** Whether an Authorization header carries the token: "Bearer TOKEN", or "Basic" with it as the password. Takes as long
 * for a wrong one as for the right one. header may be NULL. Pure. */
bool mr_http_token_is_right(const char *header, const char *token);

#endif
