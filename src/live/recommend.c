/* GET /api/v1/recommend: what a recommender of the job gives a user whose id a person has typed, as it scores now. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/blob_text.h"
#include "kernels/mf_topn/mf_topn.h"
#include "live/inside.h"

#define ID_BYTES_MAX 512
#define NAME_BYTES   128
#define FLOPS_MAX    1e9 /* of one question: a larger model would keep other viewers waiting */

/* Memory of one question. */
struct question {
    float *x;
    void *scratch;
    struct mr_text *feature;
    struct mr_scores scores;
};

static void refuse(struct mr_http_answer *answer, unsigned code, const char *text)
{
    struct mr_blob blob = {0};
    const bool is_put =
        mr_blob_put(&blob, "{\"error\":", 9) && mr_blob_quote(&blob, text) && mr_blob_put(&blob, "}\n", 2);
    mr_live_answer(answer, "application/json", &blob, is_put);
    answer->code = code;
}

/* The model that is asked for, or the only recommender; NULL: refused. */
static struct mr_model_at_work *model_find(struct mr_models *models, const struct mr_http_request *request,
                                           struct mr_http_answer *answer)
{
    char name[NAME_BYTES] = "";
    struct mr_model_at_work *found = NULL;
    const bool has_name = mr_http_argument(request, "model", name, sizeof name);
    size_t count = 0;
    for (size_t i = 0; i < models->count; i++) {
        struct mr_model_at_work *const model = &models->item[i];
        if (has_name ? strcmp(model->job->name, name) != 0 : !model->info->item_count) continue;
        found = model;
        count++;
    }
    if (has_name && !found)
        refuse(answer, 404, "no model of this job has that name");
    else if (found && !found->info->item_count)
        refuse(answer, 404, "that model recommends nothing: expected one of type mf with \"output\": \"items\"");
    else if (!count)
        refuse(answer, 404, "no model of this job recommends anything");
    else if (count > 1)
        refuse(answer, 400, "several models of this job recommend: say which, ?model=NAME");
    else
        return found;
    return NULL;
}

static void question_deinit(struct question *question)
{
    free(question->x);
    free(question->scratch);
    free(question->feature);
    free(question->scores.y);
    free(question->scores.item);
}

static void *tile(size_t cols)
{
    float *const x = aligned_alloc(MR_ALIGN, cols * MR_TILE_ROWS * sizeof *x);
    if (x) memset(x, 0, cols * MR_TILE_ROWS * sizeof *x);
    return x;
}

static bool question_init(struct question *question, const struct mr_model_info *info)
{
    const size_t scratch = (info->read_scratch_bytes + MR_ALIGN) / MR_ALIGN * MR_ALIGN;
    *question = (struct question){
        .x = tile(info->column_count),
        .scratch = aligned_alloc(MR_ALIGN, scratch),
        .feature = calloc(info->feature_count, sizeof *question->feature),
        .scores = {.y = tile(info->width), .item = tile(info->width), .width = info->width, .row_cap = MR_TILE_ROWS}};
    const struct mr_scores *const scores = &question->scores;
    return question->x && question->scratch && question->feature && scores->y && scores->item;
}

static bool items_print(const struct mr_model_at_work *model, const struct question *question, const char *user,
                        struct mr_blob *out)
{
    const struct mr_model_info *const info = model->info;
    const struct mr_scores *const scores = &question->scores;
    bool is_put = mr_blob_put(out, "{\"model\":", 9) && mr_blob_quote(out, model->job->name) &&
                  mr_blob_put(out, ",\"user\":", 8) && mr_live_text(out, user) &&
                  mr_blob_print(out, ",\"is_known\":%s,\"version\":%llu,\"items\":[",
                                question->x[0] == MR_MF_UNKNOWN ? "false" : "true",
                                (unsigned long long)atomic_load(&model->version));
    for (size_t i = 0; i < info->width && is_put; i++) {
        const int32_t item = scores->item[i * MR_TILE_ROWS];
        if (item < 0 || (size_t)item >= info->item_count) break; /* there are no more */
        is_put = mr_blob_put(out, i ? ",{\"item\":" : "{\"item\":", i ? 9 : 8) &&
                 mr_blob_put(out, info->item[item].data, info->item[item].bytes) &&
                 mr_blob_put(out, ",\"score\":", 9) &&
                 mr_blob_number(out, model->want & MR_WANT_Y ? (double)scores->y[i * MR_TILE_ROWS] : (double)NAN) &&
                 mr_blob_put(out, "}", 1);
    }
    return is_put && mr_blob_put(out, "]}\n", 3);
}

/* While the model is held: nobody replaces it. */
static void question_answer(struct mr_models *models, struct mr_model_at_work *model, struct question *question,
                            const char *user, struct mr_http_answer *answer)
{
    struct mr_blob blob = {0};
    struct mr_err err;
    size_t feature;
    question->feature[0] = (struct mr_text){.data = user, .bytes = strlen(user)};
    const mr_reason reason =
        model->job->ops->read(model->model, question->feature, question->x, question->scratch, &feature);
    if (reason) {
        refuse(answer, 400, "that can be no id of a user");
    } else if (mr_model_score_row(models, (size_t)(model - models->item), question->x, &question->scores, &err)) {
        refuse(answer, 503, err.text);
    } else {
        mr_live_answer(answer, "application/json", &blob, items_print(model, question, user, &blob));
    }
}

/* Without a user: the ids that came by last. */
static void ids_answer(struct mr_live *live, const struct mr_model_at_work *model, struct mr_http_answer *answer)
{
    struct mr_blob blob = {0};
    char id[MR_TAP_IDS][MR_TAP_ID];
    const size_t count = mr_tap_ids(live->tap, id);
    bool is_put = mr_blob_put(&blob, "{\"model\":", 9) && mr_blob_quote(&blob, model->job->name) &&
                  mr_blob_print(&blob, ",\"top\":%zu,\"ids\":[", model->info->width);
    for (size_t i = 0; i < count && is_put; i++)
        is_put = (!i || mr_blob_put(&blob, ",", 1)) && mr_live_text(&blob, id[i]);
    mr_live_answer(answer, "application/json", &blob, is_put && mr_blob_put(&blob, "]}\n", 3));
}

void mr_live_answer_recommend(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    struct mr_live *const live = context;
    struct mr_models *const models = &live->run->models;
    struct mr_model_at_work *const model = model_find(models, request, answer);
    char user[ID_BYTES_MAX + 2];
    struct question question;
    if (!model) return;
    if (!mr_http_argument(request, "user", user, sizeof user)) {
        ids_answer(live, model, answer);
    } else if (!*user || strlen(user) > ID_BYTES_MAX) {
        refuse(answer, 400, "expected an id of 1 to 512 bytes, ?user=ID");
    } else if (model->info->flops_per_row > FLOPS_MAX) {
        refuse(answer, 503, "the model is too large to be asked here: send the id as a record");
    } else if (!atomic_load(&live->run->has_begun) || !mr_models_try_hold(models)) {
        refuse(answer, 503, "the model is being made ready: ask again");
    } else {
        if (question_init(&question, model->info))
            question_answer(models, model, &question, user, answer);
        else
            refuse(answer, 503, "out of memory");
        question_deinit(&question);
        mr_models_leave(models);
    }
}
