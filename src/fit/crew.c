#include "fit/crew.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/named.h"
#include "base/cores.h"

#define THREADS_MAX     256
#define PARTS_MAX       64
#define PARTS_BYTES_MAX ((size_t)64 << 20)  /* of all parts' sums */
#define CHUNK_BYTES     ((size_t)256 << 10) /* of x that is scored, then summed: it stays in the cache in between */
#define CHUNK_ROWS_MIN  1024                /* sums are added once a chunk, and may be many */
#define CHUNK_ROWS_MAX  8192

struct mr_hand {
    struct mr_crew *crew;
    pthread_t thread;
    bool has_thread;
    struct mr_queue *queue;
    float *y;
    int32_t *class_index;
    double *sums;
    size_t y_cap, sums_cap; /* values */
};

struct mr_crew {
    const struct mr_backend_ops *ops;
    struct mr_backend *backend;
    struct mr_hand *hand; /* [hand_count]; the first is the caller's */
    unsigned hand_count;
    char text[128];

    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t turn; /* counts calls of mr_crew_share */
    unsigned busy;
    bool ends;
    void (*work)(void *context, size_t piece);
    void *context;
    size_t piece_count;
    _Atomic size_t piece_next;

    double *part_sums;
    size_t part_sums_cap;
};

static _Thread_local struct mr_hand *own_hand; /* of the thread that works on a piece */

static void pieces_work(struct mr_hand *hand)
{
    struct mr_crew *const crew = hand->crew;
    own_hand = hand;
    for (size_t piece; (piece = atomic_fetch_add(&crew->piece_next, 1)) < crew->piece_count;)
        crew->work(crew->context, piece);
}

static void *hand_run(void *argument)
{
    struct mr_hand *const hand = argument;
    struct mr_crew *const crew = hand->crew;
    uint64_t seen = 0;
    pthread_mutex_lock(&crew->lock);
    while (true) {
        while (!crew->ends && crew->turn == seen) pthread_cond_wait(&crew->changed, &crew->lock);
        if (crew->ends) break;
        seen = crew->turn;
        pthread_mutex_unlock(&crew->lock);
        pieces_work(hand);
        pthread_mutex_lock(&crew->lock);
        if (!--crew->busy) pthread_cond_broadcast(&crew->changed);
    }
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

void mr_crew_share(struct mr_crew *crew, size_t count, void (*work)(void *context, size_t piece), void *context)
{
    const bool is_shared = count > 1 && crew->hand_count > 1;
    crew->work = work;
    crew->context = context;
    crew->piece_count = count;
    atomic_store(&crew->piece_next, 0);
    if (is_shared) {
        pthread_mutex_lock(&crew->lock);
        crew->busy = crew->hand_count - 1;
        crew->turn++;
        pthread_cond_broadcast(&crew->changed);
        pthread_mutex_unlock(&crew->lock);
    }
    pieces_work(&crew->hand[0]);
    if (!is_shared) return;
    pthread_mutex_lock(&crew->lock);
    while (crew->busy) pthread_cond_wait(&crew->changed, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
}

static mr_status hands_open(struct mr_crew *crew, unsigned threads, struct mr_err *err)
{
    const bool is_cpu = !strcmp(crew->ops->name, "cpu");
    unsigned count = !is_cpu ? 1 : threads ? threads : mr_core_count();
    if (count > THREADS_MAX) count = THREADS_MAX;
    crew->hand = calloc(count, sizeof *crew->hand);
    if (!crew->hand) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (; crew->hand_count < count; crew->hand_count++) {
        struct mr_hand *const hand = &crew->hand[crew->hand_count];
        hand->crew = crew;
        const mr_status status = crew->ops->queue_open(crew->backend, &hand->queue, err);
        if (status) return status;
        if (!crew->hand_count) continue;
        if (pthread_create(&hand->thread, NULL, hand_run, hand)) {
            crew->ops->queue_close(hand->queue);
            return mr_fail(err, MR_ENOMEM, "no thread number %u can be started: try --threads", crew->hand_count);
        }
        hand->has_thread = true;
    }
    snprintf(crew->text, sizeof crew->text, "%s, %u thread%s", crew->ops->describe(crew->backend), crew->hand_count,
             crew->hand_count == 1 ? "" : "s");
    return MR_OK;
}

mr_status mr_crew_open(const char *backend, unsigned threads, struct mr_crew **crew_out, struct mr_err *err)
{
    struct mr_crew *const crew = calloc(1, sizeof *crew);
    *crew_out = NULL;
    if (!crew) return mr_fail(err, MR_ENOMEM, "out of memory");
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->changed, NULL);
    mr_status status = mr_backend_open_named(backend, &crew->ops, &crew->backend, err);
    if (!status) status = hands_open(crew, threads, err);
    if (status)
        mr_crew_close(crew);
    else
        *crew_out = crew;
    return status;
}

void mr_crew_close(struct mr_crew *crew)
{
    if (!crew) return;
    pthread_mutex_lock(&crew->lock);
    crew->ends = true;
    pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->lock);
    for (unsigned i = 0; i < crew->hand_count; i++) {
        struct mr_hand *const hand = &crew->hand[i];
        if (hand->has_thread) pthread_join(hand->thread, NULL);
        crew->ops->queue_close(hand->queue);
        free(hand->y);
        free(hand->class_index);
        free(hand->sums);
    }
    free(crew->hand);
    free(crew->part_sums);
    if (crew->backend) crew->ops->close(crew->backend);
    pthread_cond_destroy(&crew->changed);
    pthread_mutex_destroy(&crew->lock);
    free(crew);
}

const char *mr_crew_describe(const struct mr_crew *crew)
{
    return crew->text;
}

unsigned mr_crew_thread_count(const struct mr_crew *crew)
{
    return crew->hand_count;
}

/* Of the columns alone, so that sums come out alike everywhere. */
size_t mr_crew_chunk_rows(size_t cols)
{
    const size_t rows = CHUNK_BYTES / (cols * sizeof(float) + 1) / MR_TILE_ROWS * MR_TILE_ROWS;
    return rows < CHUNK_ROWS_MIN ? CHUNK_ROWS_MIN : rows > CHUNK_ROWS_MAX ? CHUNK_ROWS_MAX : rows;
}

mr_status mr_crew_plan_create(struct mr_crew *crew, mr_op op, const void *params, size_t cols, unsigned want,
                              struct mr_plan **plan_out, struct mr_err *err)
{
    return crew->ops->plan_create(crew->backend, op, params, mr_crew_chunk_rows(cols), want, plan_out, err);
}

mr_status mr_crew_plan_update(struct mr_crew *crew, struct mr_plan *plan, struct mr_err *err)
{
    return crew->ops->plan_update(plan, err);
}

void mr_crew_plan_destroy(struct mr_crew *crew, struct mr_plan *plan)
{
    if (plan) crew->ops->plan_destroy(plan);
}

/* A walk under way. */
struct walk {
    struct mr_crew *crew;
    mr_chunk_fn *work;
    void *context;
    size_t rows, chunk, part_rows, sum_count;
    pthread_mutex_t lock;
    struct mr_err err; /* the first */
};

static bool is_failed(struct walk *walk)
{
    pthread_mutex_lock(&walk->lock);
    const bool is_failed = walk->err.status != MR_OK;
    pthread_mutex_unlock(&walk->lock);
    return is_failed;
}

static void fail(struct walk *walk, const struct mr_err *err)
{
    pthread_mutex_lock(&walk->lock);
    if (!walk->err.status) walk->err = *err;
    pthread_mutex_unlock(&walk->lock);
}

static mr_status hand_reserve_sums(struct mr_hand *hand, size_t count, struct mr_err *err)
{
    if (count <= hand->sums_cap) return MR_OK;
    free(hand->sums);
    hand->sums = malloc(count * sizeof *hand->sums);
    hand->sums_cap = hand->sums ? count : 0;
    return hand->sums ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

static void part_do(void *context, size_t part)
{
    struct walk *const walk = context;
    struct mr_hand *const hand = own_hand;
    double *const total = walk->crew->part_sums + part * walk->sum_count;
    const size_t first = part * walk->part_rows;
    const size_t end = first + walk->part_rows < walk->rows ? first + walk->part_rows : walk->rows;
    struct mr_err err = {0};
    for (size_t i = 0; i < walk->sum_count; i++) total[i] = 0;
    mr_status status = hand_reserve_sums(hand, walk->sum_count, &err);
    for (size_t at = first; at < end && !status && !is_failed(walk); at += walk->chunk) {
        const struct mr_chunk chunk = {at, end - at < walk->chunk ? end - at : walk->chunk};
        status = walk->work(walk->context, hand, &chunk, hand->sums, &err);
        for (size_t i = 0; i < walk->sum_count && !status; i++) total[i] += hand->sums[i];
    }
    if (status) fail(walk, &err);
}

/* How many parts, and room for their sums. */
static mr_status parts_cut(struct walk *walk, size_t *count_out, struct mr_err *err)
{
    struct mr_crew *const crew = walk->crew;
    const size_t chunks = (walk->rows + walk->chunk - 1) / walk->chunk;
    const size_t fit = PARTS_BYTES_MAX / (walk->sum_count * sizeof(double) + 1);
    size_t count = chunks < PARTS_MAX ? chunks : PARTS_MAX;
    if (count > fit) count = fit ? fit : 1;
    walk->part_rows = count ? (chunks + count - 1) / count * walk->chunk : 0;
    *count_out = count ? (walk->rows + walk->part_rows - 1) / walk->part_rows : 0;
    const size_t cap = *count_out * walk->sum_count;
    if (cap <= crew->part_sums_cap) return MR_OK;
    free(crew->part_sums);
    crew->part_sums = malloc(cap * sizeof *crew->part_sums);
    crew->part_sums_cap = crew->part_sums ? cap : 0;
    return crew->part_sums ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

mr_status mr_crew_walk(struct mr_crew *crew, size_t rows, size_t cols, size_t sum_count, mr_chunk_fn *work,
                       void *context, double *sums_out, struct mr_err *err)
{
    struct walk walk = {.crew = crew,
                        .work = work,
                        .context = context,
                        .rows = rows,
                        .chunk = mr_crew_chunk_rows(cols),
                        .sum_count = sum_count};
    size_t parts;
    mr_status status = parts_cut(&walk, &parts, err);
    if (status) return status;
    pthread_mutex_init(&walk.lock, NULL);
    mr_crew_share(crew, parts, part_do, &walk);
    pthread_mutex_destroy(&walk.lock);
    status = walk.err.status;
    if (status && err) *err = walk.err;
    for (size_t i = 0; i < sum_count && !status; i++) {
        sums_out[i] = 0;
        for (size_t part = 0; part < parts; part++) sums_out[i] += crew->part_sums[part * sum_count + i];
    }
    return status;
}

mr_status mr_hand_score(struct mr_hand *hand, const struct mr_plan *plan, const float *x, size_t rows, size_t width,
                        const float **y_out, const int32_t **class_out, struct mr_err *err)
{
    const struct mr_backend_ops *const ops = hand->crew->ops;
    const size_t row_cap = mr_tile_count(rows) * MR_TILE_ROWS;
    if (row_cap * width > hand->y_cap) {
        free(hand->y);
        hand->y = aligned_alloc(MR_ALIGN, row_cap * width * sizeof *hand->y);
        hand->y_cap = hand->y ? row_cap * width : 0;
    }
    if (!hand->class_index) hand->class_index = aligned_alloc(MR_ALIGN, CHUNK_ROWS_MAX * sizeof *hand->class_index);
    if (!hand->y || !hand->class_index) return mr_fail(err, MR_ENOMEM, "out of memory");
    struct mr_scores scores = {.y = hand->y, .class_index = hand->class_index, .width = width, .row_cap = row_cap};
    const mr_status status = ops->score(hand->queue, plan, x, rows, &scores, err);
    const mr_status waited = ops->wait(hand->queue, status ? NULL : err);
    *y_out = hand->y;
    *class_out = hand->class_index;
    return status ? status : waited;
}

static mr_status pass_do(void *context, struct mr_hand *hand, const struct mr_chunk *chunk, double *sums,
                         struct mr_err *err)
{
    const struct mr_pass *const pass = context;
    const struct mr_backend_ops *const ops = hand->crew->ops;
    const float *const x = pass->x + chunk->first * pass->cols;
    struct mr_sum_target target = {.label = pass->label ? pass->label + chunk->first : NULL};
    mr_status status = MR_OK;
    if (pass->score)
        status = mr_hand_score(hand, pass->score, x, chunk->rows, pass->width, &target.y, &target.class_index, err);
    if (!status) status = ops->sum(hand->queue, pass->sum, x, chunk->rows, &target, sums, err);
    const mr_status waited = ops->wait(hand->queue, status ? NULL : err);
    return status ? status : waited;
}

mr_status mr_crew_pass(struct mr_crew *crew, const struct mr_pass *pass, double *sums_out, struct mr_err *err)
{
    struct mr_pass copy = *pass;
    return mr_crew_walk(crew, pass->rows, pass->cols, pass->sum_count, pass_do, &copy, sums_out, err);
}
