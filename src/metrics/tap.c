#include "metrics/tap.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kernels/kmeans_assign/kmeans_assign.h"
#include "kernels/linear_score/linear_score.h"
#include "kernels/scale/scale.h"
#include "millrace/source.h"
#include "pipeline/layout.h"

#define ROWS_AT_ONCE    4
#define MODELS_EVERY_NS 50000000

struct mr_tap {
    pthread_mutex_t lock;
    int64_t rows_every_ns;
    _Atomic int64_t rows_due_ns, pairs_due_ns, models_due_ns;
    uint64_t points, dead, ids; /* taken so far: number n stands at n modulo the size */
    int64_t offset;             /* the highest so far */
    size_t topic_count;
    char topic[MR_TAP_TOPICS][MR_TAP_TEXT];
    char id[MR_TAP_IDS][MR_TAP_ID];
    struct mr_tap_point point[MR_TAP_POINTS];
    struct mr_tap_dead dead_letter[MR_TAP_DEAD];
    struct mr_tap_numbers numbers[MR_TAP_MODELS];
    struct mr_tap_errors errors[MR_TAP_MODELS];
};

mr_status mr_tap_create(unsigned points_per_s, struct mr_tap **tap_out, struct mr_err *err)
{
    struct mr_tap *const tap = *tap_out = calloc(1, sizeof *tap);
    if (!tap) return mr_fail(err, MR_ENOMEM, "out of memory");
    pthread_mutex_init(&tap->lock, NULL);
    tap->offset = -1;
    tap->rows_every_ns = ROWS_AT_ONCE * 1000000000LL / points_per_s;
    return MR_OK;
}

void mr_tap_destroy(struct mr_tap *tap)
{
    if (!tap) return;
    pthread_mutex_destroy(&tap->lock);
    free(tap);
}

/* Whether it is time again, and this thread has it. */
static bool is_due(struct mr_tap *tap, _Atomic int64_t *due_ns, int64_t every_ns)
{
    const int64_t now_ns = mr_clock_ns();
    if (now_ns < atomic_load_explicit(due_ns, memory_order_relaxed) || pthread_mutex_trylock(&tap->lock)) return false;
    atomic_store_explicit(due_ns, now_ns + every_ns, memory_order_relaxed);
    return true;
}

/* ---- lanes ---- */

static void point_take(struct mr_tap_point *point, const struct mr_models *models, const struct mr_rows *rows,
                       const struct mr_scores *scores, size_t row, bool is_pair)
{
    const bool has_label = is_pair || models->job->record.label; /* else nobody fills it */
    const size_t features = rows->feature_count < MR_TAP_FEATURES ? rows->feature_count : MR_TAP_FEATURES;
    for (size_t i = 0; i < features; i++) point->feature[i] = rows->x[mr_tile_at(row, i, rows->feature_count)];
    point->label = rows->label && has_label ? rows->label[row] : NAN;
    for (size_t i = 0; i < models->count && i < MR_TAP_MODELS; i++) {
        const bool is_kept = !is_pair || models->item[i].judged != MR_JUDGED_NOT; /* by who waits for labels */
        const unsigned want = is_kept ? models->item[i].want : 0;
        const bool has_y = want & MR_WANT_Y, has_class = want & MR_WANT_CLASS && scores[i].class_index;
        point->answer[i] = (struct mr_tap_answer){.y = has_y ? scores[i].y[mr_tile_at(row, 0, scores[i].width)] : NAN,
                                                  .class_index = has_class ? scores[i].class_index[row] : -1};
    }
}

/* Its number; -1: there are too many. */
static int32_t topic_number(struct mr_tap *tap, const char *name)
{
    size_t i = 0;
    char cut[MR_TAP_TEXT];
    snprintf(cut, sizeof cut, "%s", name ? name : "");
    while (i < tap->topic_count && strcmp(tap->topic[i], cut) != 0) i++;
    if (i == MR_TAP_TOPICS) return -1;
    if (i == tap->topic_count) memcpy(tap->topic[tap->topic_count++], cut, sizeof cut);
    return (int32_t)i;
}

/* How wrong each judged model was: the squared error, or 1 for the wrong class. */
static void errors_take(struct mr_tap *tap, const struct mr_models *models, const struct mr_tap_point *point)
{
    if (isnan(point->label) || point->topic < 0) return;
    for (size_t i = 0; i < models->count && i < MR_TAP_MODELS; i++) {
        const struct mr_tap_answer *const answer = &point->answer[i];
        const mr_judged judged = models->item[i].judged;
        const double miss = (double)answer->y - point->label;
        const double error = judged == MR_JUDGED_NUMBER ? miss * miss
                             : judged == MR_JUDGED_CLASSES && answer->class_index >= 0
                                 ? (double)answer->class_index != point->label
                                 : (double)NAN;
        mr_by_offset_add(&tap->errors[i].topic[point->topic], point->offset, error);
    }
}

/* An id as a person would type it: a string without its quotes. One with escapes, or a long one, is not kept. */
static void id_take(struct mr_tap *tap, const struct mr_tap_batch *batch, size_t row)
{
    const struct mr_text_field *const field = batch->id;
    const struct mr_message *const message = &batch->message[batch->rows->message[row]];
    struct mr_span id = {0};
    if (!field->is_part)
        id = batch->rows->capture[field->column * batch->rows->row_cap + row];
    else if (field->part == MR_PART_KEY)
        id = (struct mr_span){message->key, message->key_bytes};
    if (id.data && id.bytes >= 2 && id.data[0] == '"' && id.data[id.bytes - 1] == '"') id.data++, id.bytes -= 2;
    if (!id.data || !id.bytes || id.bytes >= MR_TAP_ID || memchr(id.data, '\\', id.bytes)) return;
    char *const to = tap->id[tap->ids++ % MR_TAP_IDS];
    memcpy(to, id.data, id.bytes);
    to[id.bytes] = '\0';
}

void mr_tap_rows(struct mr_tap *tap, const struct mr_tap_batch *batch)
{
    const struct mr_rows *const rows = batch->rows;
    const size_t count = rows->row_count < ROWS_AT_ONCE ? rows->row_count : ROWS_AT_ONCE;
    if (!count || !is_due(tap, &tap->rows_due_ns, tap->rows_every_ns)) return;
    const int64_t time_ms = mr_clock_epoch_ms();
    for (size_t i = 0; i < count; i++) {
        const size_t row = i * rows->row_count / count;
        const struct mr_message *const message = &batch->message[rows->message[row]];
        struct mr_tap_point *const point = &tap->point[tap->points++ % MR_TAP_POINTS];
        *point = (struct mr_tap_point){
            .time_ms = time_ms,
            .offset = message->offset,
            .partition = message->partition,
            .topic = topic_number(tap, batch->source_ops->topic_name(batch->source, message->topic))};
        point_take(point, batch->models, rows, batch->scores, row, false);
        errors_take(tap, batch->models, point);
        if (message->offset > tap->offset) tap->offset = message->offset;
        if (batch->id) id_take(tap, batch, row);
    }
    pthread_mutex_unlock(&tap->lock);
}

void mr_tap_pairs(struct mr_tap *tap, const struct mr_models *models, const struct mr_rows *rows,
                  const struct mr_scores *predicted)
{
    const size_t count = rows->row_count < ROWS_AT_ONCE ? rows->row_count : ROWS_AT_ONCE;
    if (!count || !is_due(tap, &tap->pairs_due_ns, tap->rows_every_ns)) return;
    const int64_t time_ms = mr_clock_epoch_ms();
    for (size_t i = 0; i < count; i++) {
        struct mr_tap_point *const point = &tap->point[tap->points++ % MR_TAP_POINTS];
        *point = (struct mr_tap_point){.time_ms = time_ms, .offset = -1, .partition = -1, .topic = -1};
        point_take(point, models, rows, predicted, i * rows->row_count / count, true);
    }
    pthread_mutex_unlock(&tap->lock);
}

static void numbers_put(struct mr_tap_numbers *numbers, size_t rows, size_t cols, const float *value, const float *bias)
{
    if (!cols || cols > MR_TAP_NUMBERS) return;
    numbers->cols = cols;
    numbers->rows = rows < MR_TAP_NUMBERS / cols ? rows : MR_TAP_NUMBERS / cols;
    memcpy(numbers->value, value, numbers->rows * cols * sizeof *value);
    if (bias) memcpy(numbers->bias, bias, numbers->rows * sizeof *bias);
}

static void model_take(struct mr_tap_numbers *numbers, const struct mr_model_at_work *model)
{
    const void *params;
    const mr_op op = model->job->ops->op(model->model, &params);
    *numbers = (struct mr_tap_numbers){.version = atomic_load_explicit(&model->version, memory_order_relaxed)};
    if (model->learn && model->must_begin) return; /* it has no centres yet */
    if (op == MR_OP_LINEAR_SCORE) {
        const struct mr_linear_params *const linear = params;
        numbers_put(numbers, linear->out, linear->cols, linear->w, linear->b);
    } else if (op == MR_OP_KMEANS_ASSIGN && !(model->learn && model->must_begin)) { /* before, there are none */
        const struct mr_kmeans_params *const kmeans = params;
        numbers_put(numbers, kmeans->k, kmeans->cols, kmeans->center, NULL);
    } else if (op == MR_OP_SCALE) {
        const struct mr_scale_params *const scale = params;
        numbers_put(numbers, 1, scale->cols, scale->scale, NULL);
        memcpy(numbers->bias, scale->shift, numbers->cols * sizeof *scale->shift);
    }
}

void mr_tap_models(struct mr_tap *tap, const struct mr_models *models)
{
    if (!is_due(tap, &tap->models_due_ns, MODELS_EVERY_NS)) return;
    for (size_t i = 0; i < models->count && i < MR_TAP_MODELS; i++) model_take(&tap->numbers[i], &models->item[i]);
    pthread_mutex_unlock(&tap->lock);
}

void mr_tap_dead(struct mr_tap *tap, const char *topic, int32_t partition, int64_t offset, mr_reason reason,
                 const char *field)
{
    if (pthread_mutex_trylock(&tap->lock)) return;
    struct mr_tap_dead *const dead = &tap->dead_letter[tap->dead++ % MR_TAP_DEAD];
    *dead = (struct mr_tap_dead){
        .time_ms = mr_clock_epoch_ms(), .offset = offset, .partition = partition, .reason = reason};
    snprintf(dead->topic, sizeof dead->topic, "%s", topic);
    snprintf(dead->field, sizeof dead->field, "%s", field ? field : "");
    pthread_mutex_unlock(&tap->lock);
}

/* ---- who watches ---- */

/* Where to begin in a ring, and how many there are from there on. */
static size_t range(uint64_t taken, size_t size, uint64_t *next_io, size_t cap)
{
    const uint64_t oldest = taken > size ? taken - size : 0;
    if (*next_io < oldest) *next_io = oldest;
    const uint64_t left = taken - *next_io;
    return left < cap ? (size_t)left : cap;
}

size_t mr_tap_points(struct mr_tap *tap, uint64_t *next_io, struct mr_tap_point *out, size_t cap)
{
    pthread_mutex_lock(&tap->lock);
    const size_t count = range(tap->points, MR_TAP_POINTS, next_io, cap);
    for (size_t i = 0; i < count; i++) out[i] = tap->point[(*next_io + i) % MR_TAP_POINTS];
    pthread_mutex_unlock(&tap->lock);
    *next_io += count;
    return count;
}

size_t mr_tap_dead_take(struct mr_tap *tap, uint64_t *next_io, struct mr_tap_dead *out, size_t cap)
{
    pthread_mutex_lock(&tap->lock);
    const size_t count = range(tap->dead, MR_TAP_DEAD, next_io, cap);
    for (size_t i = 0; i < count; i++) out[i] = tap->dead_letter[(*next_io + i) % MR_TAP_DEAD];
    pthread_mutex_unlock(&tap->lock);
    *next_io += count;
    return count;
}

void mr_tap_skip(struct mr_tap *tap, uint64_t *points_next_out, uint64_t *dead_next_out)
{
    pthread_mutex_lock(&tap->lock);
    *points_next_out = tap->points;
    *dead_next_out = tap->dead;
    pthread_mutex_unlock(&tap->lock);
}

void mr_tap_numbers(struct mr_tap *tap, struct mr_tap_numbers out[MR_TAP_MODELS])
{
    pthread_mutex_lock(&tap->lock);
    memcpy(out, tap->numbers, sizeof tap->numbers);
    pthread_mutex_unlock(&tap->lock);
}

void mr_tap_errors(struct mr_tap *tap, size_t model, struct mr_tap_errors *out)
{
    pthread_mutex_lock(&tap->lock);
    *out = tap->errors[model];
    pthread_mutex_unlock(&tap->lock);
}

size_t mr_tap_topics(struct mr_tap *tap, char out[MR_TAP_TOPICS][MR_TAP_TEXT])
{
    pthread_mutex_lock(&tap->lock);
    const size_t count = tap->topic_count;
    memcpy(out, tap->topic, sizeof tap->topic);
    pthread_mutex_unlock(&tap->lock);
    return count;
}

size_t mr_tap_ids(struct mr_tap *tap, char out[MR_TAP_IDS][MR_TAP_ID])
{
    size_t count = 0;
    pthread_mutex_lock(&tap->lock);
    for (uint64_t i = 0; i < tap->ids && i < MR_TAP_IDS; i++) {
        const char *const id = tap->id[(tap->ids - 1 - i) % MR_TAP_IDS];
        size_t k = 0;
        while (k < count && strcmp(out[k], id) != 0) k++;
        if (k == count) memcpy(out[count++], id, MR_TAP_ID);
    }
    pthread_mutex_unlock(&tap->lock);
    return count;
}

int64_t mr_tap_offset(struct mr_tap *tap)
{
    pthread_mutex_lock(&tap->lock);
    const int64_t offset = tap->offset;
    pthread_mutex_unlock(&tap->lock);
    return offset;
}
