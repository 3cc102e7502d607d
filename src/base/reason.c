#include "millrace/batch.h"

static const char *const reasons[MR_REASON_COUNT] = {
    [MR_REASON_NONE] = "none",           [MR_REASON_EMPTY] = "empty",
    [MR_REASON_SYNTAX] = "syntax",       [MR_REASON_ENCODING] = "encoding",
    [MR_REASON_DEPTH] = "depth",         [MR_REASON_DUPLICATE_KEY] = "duplicate_key",
    [MR_REASON_MISSING] = "missing",     [MR_REASON_NULL] = "null",
    [MR_REASON_TYPE] = "type",           [MR_REASON_RANGE] = "range",
    [MR_REASON_LENGTH] = "length",       [MR_REASON_SIZE] = "size",
    [MR_REASON_TOMBSTONE] = "tombstone", [MR_REASON_OUTPUT_SIZE] = "output_size",
    [MR_REASON_REFUSED] = "refused",
};

const char *mr_reason_name(mr_reason reason)
{
    return (unsigned)reason < MR_REASON_COUNT ? reasons[reason] : "unknown";
}
