/* What models say that they have found, taken down after each update: so a report never reads a model at work. */
#include <stdlib.h>
#include <string.h>

#include "scoring/models.h"

void mr_found_take(struct mr_model_at_work *model)
{
    struct mr_found *const found = &model->found;
    if (!found->values) return;
    pthread_mutex_lock(&found->lock);
    model->job->ops->found(model->model, found->text, MR_FOUND_BYTES, found->values);
    pthread_mutex_unlock(&found->lock);
}

bool mr_model_found(struct mr_model_at_work *model, char *text, double *values)
{
    struct mr_found *const found = &model->found;
    if (!found->values) return false;
    pthread_mutex_lock(&found->lock);
    memcpy(text, found->text, MR_FOUND_BYTES);
    memcpy(values, found->values, model->info->width * sizeof *values);
    pthread_mutex_unlock(&found->lock);
    return true;
}

mr_status mr_found_make(struct mr_model_at_work *model, struct mr_err *err)
{
    struct mr_found *const found = &model->found;
    if (!model->job->ops->found) return MR_OK;
    found->text = calloc(1, MR_FOUND_BYTES);
    found->values = calloc(model->info->width + 1, sizeof *found->values);
    if (!found->text || !found->values || pthread_mutex_init(&found->lock, NULL)) {
        free(found->values);
        found->values = NULL;
        return mr_fail(err, MR_ENOMEM, "out of memory");
    }
    mr_found_take(model);
    return MR_OK;
}

void mr_found_free(struct mr_found *found)
{
    if (found->values) pthread_mutex_destroy(&found->lock);
    free(found->values);
    free(found->text);
}
