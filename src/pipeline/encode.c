#include "pipeline/encode.h"

#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "config/followed.h"
#include "pipeline/template_write.h"
#include "scoring/follow.h"

struct mr_encoder {
    struct mr_template *template;
    const struct mr_job *job;
    int framing;            /* mr_emit_framing */
    size_t joined_rows_max; /* rows of one record */
    bool joins_messages;    /* nothing but the value goes through, so neighbours may share a record */
    bool has_headers;
    bool is_mute;
    bool has_origin;                   /* a sink asks for row and event_ms of records */
    uint32_t place;                    /* of the row that was traced last, in its message */
    size_t traced;                     /* that row */
    uint32_t last_message, last_place; /* of the slot before, its last row */
    bool is_fast;                      /* put_fast applies, row by row */
    struct mr_header *model_header;    /* [model_header_count] constant `millrace-model` headers */
    size_t *model;                     /* [model_header_count] which each is of */
    size_t model_header_count;
    char **model_text;
    size_t version_bytes; /* that versions may take in the headers of a record */
};

static const char model_header_name[] = "millrace-model";
static const char source_header_name[] = "millrace-source";

/* Room for "/2147483647/9223372036854775807" behind the topic. */
#define SOURCE_TEXT_BYTES (2 * MR_NUMBER_BYTES)

/* Whether outputs name the model that made them: all with provenance; one that is followed, so that its version is
 * told, unless the job emits that as a field. */
static bool is_named(const struct mr_job *job, const struct mr_layout *layout, size_t m)
{
    if (job->emit.provenance) return true;
    for (size_t i = 0; i < layout->item_count; i++)
        if (layout->item[i].kind == MR_EMIT_VERSION && layout->item[i].model == m) return false;
    return mr_job_model_follows(&job->model[m]);
}

/* `name@version`, or the name alone: one header for each model, made once. */
static mr_status model_headers_create(struct mr_encoder *encoder, const struct mr_layout *layout,
                                      const struct mr_model_info *const *info, struct mr_err *err)
{
    const struct mr_job *job = encoder->job;
    encoder->model_header = calloc(job->model_count + 1, sizeof *encoder->model_header);
    encoder->model = calloc(job->model_count + 1, sizeof *encoder->model);
    encoder->model_text = calloc(job->model_count + 1, sizeof *encoder->model_text);
    if (!encoder->model_header || !encoder->model || !encoder->model_text)
        return mr_fail(err, MR_ENOMEM, "encoder: out of memory");
    for (size_t m = 0; m < job->model_count; m++) {
        if (!is_named(job, layout, m)) continue;
        const char *version = info[m]->version && *info[m]->version ? info[m]->version : NULL;
        if (mr_job_model_follows(&job->model[m])) version = "0"; /* updates that it has seen */
        char *text = malloc(strlen(job->model[m].name) + (version ? strlen(version) : 0) + 2);
        if (!text) return mr_fail(err, MR_ENOMEM, "encoder: out of memory");
        strcpy(text, job->model[m].name);
        if (version) strcat(strcat(text, "@"), version);
        const size_t at = encoder->model_header_count++;
        encoder->model_text[at] = text;
        encoder->model[at] = m;
        encoder->model_header[at] = (struct mr_header){model_header_name, text, strlen(text)};
        encoder->version_bytes += strlen(job->model[m].name) + 1 + MR_NUMBER_BYTES;
    }
    return MR_OK;
}

mr_status mr_encoder_create(const struct mr_job *job, const struct mr_layout *layout,
                            const struct mr_model_info *const *info, struct mr_encoder **encoder_out,
                            struct mr_err *err)
{
    struct mr_encoder *encoder = calloc(1, sizeof *encoder);
    *encoder_out = NULL;
    if (!encoder) return mr_fail(err, MR_ENOMEM, "encoder: out of memory");
    encoder->job = job;
    encoder->framing = job->emit.framing;
    encoder->joined_rows_max = job->emit.records_max > 0 ? (size_t)job->emit.records_max : 1;
    encoder->has_origin = mr_job_reads_origin(job);
    encoder->joins_messages = !job->emit.headers.count && !job->emit.timestamp && !encoder->has_origin;
    mr_status status =
        mr_template_create(job, layout, info, encoder->framing == MR_EMIT_LINES, &encoder->template, err);
    if (!status) status = model_headers_create(encoder, layout, info, err);
    encoder->has_headers = job->emit.headers.count || job->emit.provenance || encoder->model_header_count;
    if (!status) {
        encoder->is_fast = encoder->template->is_fast && encoder->framing == MR_EMIT_SINGLE && !job->emit.key &&
                           !job->emit.timestamp && !encoder->has_headers;
    }
    if (status) {
        mr_encoder_destroy(encoder);
        return status;
    }
    *encoder_out = encoder;
    return MR_OK;
}

/* What one call writes to, kept in registers. */
struct writer {
    struct mr_outbox *box;
    char *out, *end;
};

static size_t writer_room(const struct writer *writer)
{
    return (size_t)(writer->end - writer->out);
}

/* Most bytes that key, headers and joining add to the objects of a record. */
static size_t extras_bytes_max(const struct mr_encoder *encoder, const struct mr_encode_input *input,
                               const struct mr_message *message)
{
    const struct mr_emit_options *emit = &encoder->job->emit;
    size_t bytes = 2 + (emit->key && message->key ? message->key_bytes : 0);
    if (!encoder->has_headers) return bytes;
    bytes +=
        (emit->headers.count + encoder->model_header_count + 1) * sizeof(struct mr_header) + _Alignof(struct mr_header);
    for (size_t i = 0; i < emit->headers.count; i++) {
        struct mr_span value;
        if (input->source_ops->header(input->source, message, emit->headers.item[i], &value)) bytes += value.bytes;
    }
    bytes += encoder->version_bytes;
    if (emit->provenance)
        bytes += strlen(input->source_ops->topic_name(input->source, message->topic)) + SOURCE_TEXT_BYTES;
    return bytes;
}

/* `name@version`: the version of a model that learns, here or elsewhere, changes. */
static struct mr_header model_header(const struct mr_encoder *encoder, size_t at, uint64_t version, char **out)
{
    char *const text = *out;
    if (!version) return encoder->model_header[at];
    *out = stpcpy(*out, encoder->job->model[encoder->model[at]].name);
    *(*out)++ = '@';
    *out += mr_print_i64((int64_t)version, *out);
    return (struct mr_header){model_header_name, text, (size_t)(*out - text)};
}

/* Headers of a record into the arena: those that go through, then provenance. */
static void put_headers(const struct mr_encoder *encoder, const struct mr_encode_input *input,
                        const struct mr_message *message, struct writer *writer, struct mr_record *record)
{
    const struct mr_emit_options *emit = &encoder->job->emit;
    const uintptr_t misfit = (uintptr_t)writer->out % _Alignof(struct mr_header);
    struct mr_header *header =
        (struct mr_header *)(void *)(writer->out + (misfit ? _Alignof(struct mr_header) - misfit : 0));
    size_t count = 0;
    char *out = (char *)(header + emit->headers.count + encoder->model_header_count + 1);
    for (size_t i = 0; i < emit->headers.count; i++) {
        struct mr_span value;
        if (!input->source_ops->header(input->source, message, emit->headers.item[i], &value)) continue;
        header[count++] =
            (struct mr_header){emit->headers.item[i], value.data ? out : NULL, value.data ? value.bytes : 0};
        if (!value.data) continue;
        memcpy(out, value.data, value.bytes);
        out += value.bytes;
    }
    for (size_t i = 0; i < encoder->model_header_count; i++)
        header[count++] = model_header(encoder, i, input->scores[encoder->model[i]].version, &out);
    if (emit->provenance) {
        char *const text = out;
        out = stpcpy(out, input->source_ops->topic_name(input->source, message->topic));
        *out++ = '/';
        out += mr_print_i64(message->partition, out);
        *out++ = '/';
        out += mr_print_i64(message->offset, out);
        header[count++] = (struct mr_header){source_header_name, text, (size_t)(out - text)};
    }
    record->header = header;
    record->header_count = (uint32_t)count;
    writer->out = out;
}

static inline int32_t partition_of(int choice, const struct mr_message *message)
{
    return choice == MR_PARTITION_STICKY ? MR_PARTITION_BY_BATCH
           : choice == MR_PARTITION_KEY  ? MR_PARTITION_BY_KEY
                                         : message->partition;
}

/* Everything of a record but its value. */
static void record_finish(const struct mr_encoder *encoder, const struct mr_encode_input *input,
                          const struct mr_message *message, const char *value, uint32_t row_count,
                          struct writer *writer)
{
    const struct mr_emit_options *emit = &encoder->job->emit;
    struct mr_record *record = &writer->box->record[writer->box->count++];
    *record = (struct mr_record){
        .value = value,
        .value_bytes = (uint32_t)(writer->out - value),
        .partition = partition_of(emit->partition, message),
        .timestamp_ms = emit->timestamp ? input->source_ops->timestamp_ms(input->source, message) : -1,
        .offset = message->offset,
        .source_partition = message->partition,
        .topic = message->topic,
        .row_count = row_count,
    };
    if (emit->key && message->key) {
        memcpy(writer->out, message->key, message->key_bytes);
        record->key = writer->out;
        record->key_bytes = (uint32_t)message->key_bytes;
        writer->out += message->key_bytes;
    }
    if (encoder->has_headers) put_headers(encoder, input, message, writer, record);
}

/* May the row of `next` go into the record whose rows come from `message`? */
static bool is_joinable(const struct mr_encoder *encoder, const struct mr_message *message,
                        const struct mr_message *next)
{
    if (message == next) return true;
    return encoder->joins_messages && message->topic == next->topic && message->partition == next->partition &&
           !message->key && !next->key;
}

/* Rows into one record, from *row on; false when not even the first one fits. */
static bool put_joined(struct mr_encoder *encoder, const struct mr_encode_input *input, const struct mr_rows *rows,
                       size_t *row, struct writer *writer)
{
    const struct mr_message *message = &input->messages[rows->message[*row]];
    char *const value = writer->out;
    uint32_t count = 0;
    while (*row < rows->row_count) {
        const struct mr_message *next = &input->messages[rows->message[*row]];
        const size_t need =
            template_bytes_max(encoder->template, input, rows, *row, next) + extras_bytes_max(encoder, input, next);
        if (need > writer_room(writer)) break;
        if (count && (count == encoder->joined_rows_max || writer->out - value >= (ptrdiff_t)MR_JOINED_BYTES)) break;
        if (count && !is_joinable(encoder, message, next)) break;
        if (count) {
            *writer->out++ = encoder->framing == MR_EMIT_ARRAY ? ',' : '\n';
        } else if (encoder->framing == MR_EMIT_ARRAY) {
            *writer->out++ = '[';
        }
        writer->out = template_write(encoder->template, input, rows, *row, next, writer->out);
        message = next;
        count++;
        ++*row;
    }
    if (!count) return false;
    if (encoder->framing == MR_EMIT_ARRAY) *writer->out++ = ']';
    record_finish(encoder, input, message, value, count, writer);
    return true;
}

static bool put_single(struct mr_encoder *encoder, const struct mr_encode_input *input, const struct mr_rows *rows,
                       size_t *row, struct writer *writer)
{
    const struct mr_message *message = &input->messages[rows->message[*row]];
    const size_t need =
        template_bytes_max(encoder->template, input, rows, *row, message) + extras_bytes_max(encoder, input, message);
    if (need > writer_room(writer)) return false;
    char *const value = writer->out;
    writer->out = template_write(encoder->template, input, rows, *row, message, value);
    record_finish(encoder, input, message, value, 1, writer);
    ++*row;
    return true;
}

/*
 * One record a row, nothing but values, short fields: the common case without the questions of the others. Stops where
 * it does not apply or the box is full.
 */
static void put_fast(struct mr_encoder *encoder, const struct mr_encode_input *input, const struct mr_rows *rows,
                     size_t *row, struct writer *writer)
{
    struct mr_template *const t = encoder->template;
    struct mr_outbox *const box = writer->box;
    const int partition = encoder->job->emit.partition;
    const size_t need = t->fast_bytes_max;
    char *out = writer->out;
    size_t at = *row, count = box->count;
    template_bind(t, input, rows);
    for (; at < rows->row_count && count < box->record_cap && (size_t)(writer->end - out) >= need; at++, count++) {
        const struct mr_message *message = &input->messages[rows->message[at]];
        struct mr_record *record = &box->record[count];
        char *const end = template_write_fast(t, at, message, out);
        if (__builtin_expect(!end, 0)) break;
        record->value = out;
        record->key = NULL;
        record->value_bytes = (uint32_t)(end - out);
        record->key_bytes = 0;
        record->partition = partition_of(partition, message);
        record->header_count = 0;
        record->header = NULL;
        record->timestamp_ms = -1;
        record->offset = message->offset;
        record->source_partition = message->partition;
        record->topic = message->topic;
        record->row_count = 1;
        out = end;
    }
    writer->out = out;
    box->count = count;
    *row = at;
}

/* ---- where records come from ---- */

/* A slot begins: its first rows may go on with the message that the last slot ended in. */
static void trace_begin(struct mr_encoder *encoder, const struct mr_encode_input *input, const struct mr_rows *rows)
{
    const bool goes_on = input->is_continued && rows->row_count && rows->message[0] == encoder->last_message;
    encoder->traced = 0;
    encoder->place = goes_on ? encoder->last_place + 1 : 0;
}

/* Goes on to a row; those that became no record have a place, too. */
static void trace_to(struct mr_encoder *encoder, const struct mr_rows *rows, size_t row)
{
    for (; encoder->traced < row; encoder->traced++)
        encoder->place = rows->message[encoder->traced] == rows->message[encoder->traced + 1] ? encoder->place + 1 : 0;
}

/* Records from `from` on, of which the first answers `row`. */
static void records_trace(struct mr_encoder *encoder, const struct mr_encode_input *input, const struct mr_rows *rows,
                          size_t row, struct mr_outbox *box, size_t from)
{
    for (size_t i = from; i < box->count; i++) {
        struct mr_record *const record = &box->record[i];
        trace_to(encoder, rows, row);
        record->row = encoder->place;
        record->message = &input->messages[rows->message[row]];
        row += record->row_count;
    }
}

static void trace_end(struct mr_encoder *encoder, const struct mr_rows *rows)
{
    if (!rows->row_count) return;
    trace_to(encoder, rows, rows->row_count - 1);
    encoder->last_message = rows->message[rows->row_count - 1];
    encoder->last_place = encoder->place;
}

/* A row that does not fit an empty arena never will. False when the rejects are full. */
static bool row_reject(const struct mr_encode_input *input, struct mr_rows *rows, size_t row)
{
    if (rows->reject_count == rows->reject_cap) return false;
    const size_t bytes = input->messages[rows->message[row]].value_bytes;
    rows->reject[rows->reject_count++] = (struct mr_reject){.message = rows->message[row],
                                                            .bytes = (uint32_t)bytes,
                                                            .reason = MR_REASON_OUTPUT_SIZE,
                                                            .field = MR_FIELD_NONE};
    return true;
}

void mr_encode(struct mr_encoder *encoder, const struct mr_encode_input *input, struct mr_rows *rows, size_t *row,
               struct mr_outbox *box)
{
    struct writer writer = {box, box->arena + box->arena_used, box->arena + box->arena_cap};
    if (encoder->has_origin && !*row) trace_begin(encoder, input, rows);
    if (encoder->is_mute) *row = rows->row_count;
    while (*row < rows->row_count && box->count < box->record_cap) {
        const size_t before = *row, count = box->count;
        if (encoder->is_fast) put_fast(encoder, input, rows, row, &writer);
        const bool is_put =
            *row > before || (encoder->framing == MR_EMIT_SINGLE ? put_single(encoder, input, rows, row, &writer)
                                                                 : put_joined(encoder, input, rows, row, &writer));
        if (is_put && encoder->has_origin) records_trace(encoder, input, rows, before, box, count);
        if (is_put) continue;
        if (writer.out > box->arena || !row_reject(input, rows, *row)) break;
        ++*row;
    }
    if (encoder->has_origin && *row == rows->row_count) trace_end(encoder, rows);
    box->arena_used = (size_t)(writer.out - box->arena);
}

void mr_encoder_mute(struct mr_encoder *encoder)
{
    encoder->is_mute = true;
}

uint64_t mr_encoder_nonfinite_count(const struct mr_encoder *encoder)
{
    return encoder->template->nonfinite_count;
}

void mr_encoder_destroy(struct mr_encoder *encoder)
{
    if (!encoder) return;
    mr_template_destroy(encoder->template);
    for (size_t m = 0; m < encoder->model_header_count; m++) free(encoder->model_text[m]);
    free(encoder->model_text);
    free(encoder->model);
    free(encoder->model_header);
    free(encoder);
}
