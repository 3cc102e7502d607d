/* Any bytes through the CSV codec in both framings and with a header; the first two are compared with the reference. */
#include "csv_compare.h"

struct csv_options {
    char *delimiter;
    int header;
    struct mr_strings columns;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* With a header: nothing to compare with, but every record must come out once and nothing be read beyond the end. */
static void run_headed(const char *text, size_t bytes)
{
    static struct mr_decoder *decoder;
    static float x[64 * 2];
    static double label[64];
    static struct mr_span capture[64];
    static uint32_t row_message[64];
    static struct mr_reject reject[64];
    if (!decoder) {
        static const struct mr_field field[] = {{.path = "a", .column = 0},
                                                {.path = "b", .column = 1, .missing = MR_MISSING_DEFAULT},
                                                {.path = "c", .role = MR_FIELD_CAPTURE, .required = true},
                                                {.path = "d", .role = MR_FIELD_LABEL, .missing = MR_MISSING_DEFAULT}};
        const struct mr_schema schema = {.field = field,
                                         .field_count = 4,
                                         .feature_count = 2,
                                         .capture_count = 1,
                                         .framing = MR_FRAMING_LINES,
                                         .record_bytes_max = 200};
        static const struct csv_options options = {.header = 1};
        if (mr_codec_find("csv")->create(&options, &schema, &decoder, NULL)) abort();
    }
    const struct mr_message message[2] = {{.value = text, .value_bytes = bytes}, {.value = text, .value_bytes = bytes}};
    struct mr_cursor cursor = {0};
    for (size_t rounds = 0; cursor.message < 2; rounds++) {
        struct mr_rows rows = {.x = x,
                               .label = label,
                               .capture = capture,
                               .message = row_message,
                               .reject = reject,
                               .feature_count = 2,
                               .capture_count = 1,
                               .row_cap = 3,
                               .reject_cap = 2};
        mr_codec_find("csv")->decode(decoder, message, 2, &cursor, &rows);
        if (rounds > 4 * bytes + 4) abort(); /* no way forward */
        for (size_t i = 0; i < rows.reject_count; i++) {
            if ((size_t)reject[i].first + reject[i].bytes > bytes) abort();
        }
        for (size_t i = 0; i < rows.row_count; i++) {
            if (!isfinite(x[i]) || !isfinite(label[i])) abort();
            if (capture[i].data < text || capture[i].data + capture[i].bytes > text + bytes) abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct compare lines, single;
    if (!lines.decoder && !(compare_init(&lines, true) && compare_init(&single, false))) abort();
    const char *text = (const char *)data;
    const char *why = compare_message(&lines, text, bytes);
    if (!why) why = compare_single(&single, text, bytes);
    if (why) {
        fprintf(stderr, "%s\n", why);
        abort();
    }
    run_headed(text, bytes);
    return 0;
}
