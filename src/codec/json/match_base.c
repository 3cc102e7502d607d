/* Matching a template, one slot after the other, eight bytes at a time in ordinary registers. */
#include "codec/json/match.h"

const char *json_match_base(const struct json_template *template, const char *text, const char *end, float *x,
                            const char **gap)
{
    return json_match_slots(template, 0, text, end, x, gap);
}
