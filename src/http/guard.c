#include "http/guard.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"

#define HOST_MAX  255
#define BASIC_MAX 1024

/* The host without its port and brackets. False: it is none. */
static bool host_split(const char *text, char out[HOST_MAX + 1])
{
    const bool is_bracket = *text == '[';
    const char *const end = is_bracket ? strchr(text, ']') : text + strcspn(text, ":");
    if (!end) return false;
    const char *const port = end + is_bracket;
    const size_t bytes = (size_t)(end - text) - is_bracket;
    if (!bytes || bytes > HOST_MAX || (*port && *port != ':')) return false;
    if (*port && strspn(port + 1, "0123456789") != strlen(port + 1)) return false;
    memcpy(out, text + is_bracket, bytes);
    out[bytes] = '\0';
    return true;
}

bool mr_http_host_is_ours(const char *host, const struct mr_strings *names)
{
    char name[HOST_MAX + 1];
    unsigned char address[sizeof(struct in6_addr)];
    if (!host || !host_split(host, name)) return false;
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1) return true;
    if (!strcasecmp(name, "localhost")) return true;
    for (size_t i = 0; names && i < names->count; i++)
        if (!strcasecmp(name, names->item[i])) return true;
    return false;
}

/* Equal, in a time that depends on the length of what was given alone. */
static bool is_equal(const char *given, size_t bytes, const char *token)
{
    const size_t want = strlen(token);
    unsigned char differ = bytes != want;
    for (size_t i = 0; i < bytes; i++) differ |= (unsigned char)(given[i] ^ token[want ? i % want : 0]);
    return !differ;
}

bool mr_http_token_is_right(const char *header, const char *token)
{
    char text[BASIC_MAX + 4];
    if (!header) return false;
    if (!strncasecmp(header, "Bearer ", 7)) return is_equal(header + 7, strlen(header + 7), token);
    if (strncasecmp(header, "Basic ", 6) != 0 || strlen(header + 6) > BASIC_MAX) return false;
    size_t bytes;
    if (!mr_base64_decode(header + 6, strlen(header + 6), text, &bytes)) return false;
    const char *const colon = memchr(text, ':', bytes);
    return colon && is_equal(colon + 1, (size_t)(text + bytes - colon - 1), token);
}
