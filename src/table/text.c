/* Features that are no numbers: their text becomes columns by a model's own read(). */
#include "millrace/model.h"
#include "table/inside.h"

#define TEXT_MAX 4 /* features of a model that reads text */

/* Where the record of a row begins, near enough to say its line. */
static uint32_t place_of(const struct mr_table *table, const struct mr_text *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (text[i].data) return (uint32_t)(text[i].data - table->message.value);
    }
    return 0;
}

mr_status mr_table_texts_take(struct mr_table *table, size_t first, double *label, struct mr_err *err)
{
    struct mr_rows *const rows = &table->rows;
    struct mr_text text[TEXT_MAX];
    const size_t count = table->path.count < TEXT_MAX ? table->path.count : TEXT_MAX;
    size_t kept = first;
    for (size_t row = first; row < rows->row_count; row++) {
        size_t feature = 0;
        for (size_t i = 0; i < count; i++) {
            const struct mr_span span = rows->capture[i * rows->row_cap + row];
            text[i] = (struct mr_text){span.data, span.bytes, table->codec->captures_json};
        }
        const mr_reason reason = table->reader_ops->read(
            table->reader, text, rows->x + mr_tile_at(kept, 0, table->cols), table->reader_scratch, &feature);
        if (!reason) {
            if (label) label[kept] = label[row];
            kept++;
            continue;
        }
        const struct mr_reject reject = {
            .first = place_of(table, text, count), .reason = (uint16_t)reason, .field = (uint16_t)feature};
        if (!table->skips_bad) return mr_table_bad_row(table, &reject, err);
        table->skipped++;
    }
    rows->row_count = kept;
    return MR_OK;
}
