#include "model/mf/id_text.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

/* The characters of a JSON string, or of CSV text in quotes, without its quotes; NULL: too long for an id. */
static const char *unquote(const struct mr_text *text, char *to, size_t *bytes_out)
{
    const char *at = text->data + 1, *const end = text->data + text->bytes - 1;
    size_t bytes = 0;
    if (end - at > MR_ID_BYTES_MAX * MR_JSON_ESCAPE_MAX) return NULL;
    if (text->is_json) {
        bytes = mr_json_decode(at, end, to);
    } else {
        for (; at < end; at++) {
            if (*at == '"') at++; /* a quote is written twice */
            to[bytes++] = *at;
        }
    }
    *bytes_out = bytes;
    return bytes <= MR_ID_BYTES_MAX ? to : NULL;
}

/* A whole number however it is written: 196, 196.0, 1.96e2. */
static const char *number_normal(const struct mr_text *text, char *to, size_t *bytes_out)
{
    double value;
    const bool is_plain = !memchr(text->data, '.', text->bytes) && !memchr(text->data, 'e', text->bytes) &&
                          !memchr(text->data, 'E', text->bytes);
    *bytes_out = text->bytes;
    if (is_plain || mr_parse_f64(text->data, text->data + text->bytes, &value) != text->data + text->bytes ||
        value != floor(value) || fabs(value) >= 9007199254740992.0)
        return text->data;
    *bytes_out = mr_print_i64((long long)value, to);
    return to;
}

mr_reason mr_id_text(const struct mr_text *text, char *room, const char **id_out, size_t *bytes_out)
{
    *id_out = NULL;
    if (!text->data) return MR_REASON_MISSING;
    if (text->bytes >= 2 && text->data[0] == '"')
        *id_out = unquote(text, room, bytes_out);
    else if (text->is_json && (!text->bytes || (text->data[0] != '-' && !isdigit((unsigned char)text->data[0]))))
        return MR_REASON_TYPE;
    else
        *id_out = number_normal(text, room, bytes_out);
    return MR_REASON_NONE;
}
