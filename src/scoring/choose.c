#include "scoring/choose.h"

#include <stdio.h>
#include <string.h>

#include "backend/measure.h"
#include "base/clock.h"
#include "base/cores.h"
#include "base/log.h"
#include "registry.h"

#define CANDIDATES_MAX 8
#define SECONDS        0.4 /* of the half second that a start may take; the rest is for opening devices */
#define MARGIN         1.1

size_t mr_choose_sizes(size_t row_cap, size_t sizes_out[MR_CHOOSE_SIZES])
{
    static const size_t usual[] = {64, 1024, 8192};
    size_t count = 0;
    for (size_t i = 0; i < sizeof usual / sizeof *usual && usual[i] < row_cap; i++) sizes_out[count++] = usual[i];
    sizes_out[count++] = row_cap;
    return count;
}

void mr_choose_measure(const struct mr_models *models, const struct mr_backend_ops *ops, struct mr_backend *backend,
                       const size_t *sizes, size_t size_count, const unsigned *want, double seconds,
                       struct mr_candidate *candidate_out)
{
    const int64_t deadline_ns = mr_clock_ns() + (int64_t)(seconds * 1e9);
    *candidate_out = (struct mr_candidate){0};
    snprintf(candidate_out->name, sizeof candidate_out->name, "%s", ops->describe(backend));
    for (size_t k = size_count; k-- > 0;) {
        if (k + 1 < size_count && mr_clock_ns() > deadline_ns) break; /* the largest is always measured */
        double sum_ns = 0;
        for (size_t i = 0; i < models->count; i++) {
            const struct mr_model_at_work *const model = &models->item[i];
            const struct mr_measure measure = {.ops = ops,
                                               .backend = backend,
                                               .model_ops = model->job->ops,
                                               .model = model->model,
                                               .want = want[i] ? want[i] : MR_WANT_Y,
                                               .seconds_max = seconds / (double)(size_count * models->count)};
            double row_ns = 0;
            struct mr_err err;
            if (mr_backend_measure(&measure, &sizes[k], 1, &row_ns, &err)) {
                snprintf(candidate_out->reason, sizeof candidate_out->reason, "%s", err.text);
                return;
            }
            sum_ns += row_ns;
        }
        candidate_out->row_ns[k] = sum_ns;
    }
}

/* From how many rows on a batch is done sooner than on the CPU. */
static size_t rows_min(const struct mr_candidate *device, const struct mr_candidate *cpu, const size_t *sizes,
                       size_t size_count)
{
    size_t least = sizes[size_count - 1];
    for (size_t k = size_count; k-- > 0;) {
        if (device->row_ns[k] <= 0 || device->row_ns[k] >= cpu->row_ns[k]) break;
        least = k ? sizes[k] : 0;
    }
    return least;
}

void mr_choose_decide(const struct mr_candidate *candidates, size_t count, const size_t *sizes, size_t size_count,
                      unsigned lanes, struct mr_choice *choice_out)
{
    const size_t last = size_count - 1;
    const double cpu_ns = candidates[0].row_ns[last] / lanes;
    size_t best = 0;
    double best_ns = cpu_ns / MARGIN;
    for (size_t i = 1; i < count; i++) {
        const double ns = candidates[i].row_ns[last];
        if (candidates[i].reason[0] || ns <= 0 || ns > best_ns) continue;
        best = i;
        best_ns = ns;
    }
    *choice_out = (struct mr_choice){.device = best ? best : MR_NO_UNIT};
    if (best) choice_out->rows_min = rows_min(&candidates[best], &candidates[0], sizes, size_count);
    int used =
        snprintf(choice_out->because, sizeof choice_out->because, "%zu rows a batch, ns a row: %s %.3g (%u lane%s)",
                 sizes[last], candidates[0].name, cpu_ns, lanes, lanes == 1 ? "" : "s");
    for (size_t i = 1; i < count && used > 0 && (size_t)used < sizeof choice_out->because; i++) {
        char *const text = choice_out->because + used;
        const size_t room = sizeof choice_out->because - (size_t)used;
        used += candidates[i].reason[0] || candidates[i].row_ns[last] <= 0
                    ? snprintf(text, room, ", %s not", candidates[i].name)
                    : snprintf(text, room, ", %s %.3g", candidates[i].name, candidates[i].row_ns[last]);
    }
}

/* Devices that start and are not this machine's own processors under another name. */
struct devices {
    const struct mr_backend_ops *ops[CANDIDATES_MAX];
    struct mr_backend *backend[CANDIDATES_MAX];
    size_t count;
};

static void devices_open(struct devices *devices)
{
    *devices = (struct devices){0};
    for (size_t i = 0; mr_backends[i] && devices->count + 1 < CANDIDATES_MAX; i++) {
        const struct mr_backend_ops *const ops = mr_backends[i];
        struct mr_backend *backend;
        struct mr_err err;
        if (!strcmp(ops->name, "cpu")) continue;
        if (ops->may_start && !ops->may_start()) {
            mr_log(MR_LOG_DEBUG, "backend", "auto: this machine has no device for %s", ops->name);
            continue;
        }
        if (ops->open(NULL, &backend, &err)) {
            mr_log(MR_LOG_DEBUG, "backend", "auto: %s does not start: %s", ops->name, err.text);
            continue;
        }
        if (ops->is_host && ops->is_host(backend)) {
            mr_log(MR_LOG_DEBUG, "backend", "auto: %s is this machine's own processors: cpu", ops->describe(backend));
            ops->close(backend);
            continue;
        }
        devices->ops[devices->count] = ops;
        devices->backend[devices->count++] = backend;
    }
}

void mr_choose(struct mr_units *units, const struct mr_models *models, size_t row_cap, const unsigned *want)
{
    struct mr_candidate candidates[CANDIDATES_MAX];
    struct devices devices;
    struct mr_choice choice;
    size_t sizes[MR_CHOOSE_SIZES];
    const size_t size_count = mr_choose_sizes(row_cap, sizes);

    devices_open(&devices);
    if (!devices.count) return;
    const double seconds = SECONDS / (double)(devices.count + 1);
    mr_choose_measure(models, units->unit[0].ops, units->unit[0].backend, sizes, size_count, want, seconds,
                      &candidates[0]);
    for (size_t i = 0; i < devices.count; i++)
        mr_choose_measure(models, devices.ops[i], devices.backend[i], sizes, size_count, want, seconds,
                          &candidates[i + 1]);
    mr_choose_decide(candidates, devices.count + 1, sizes, size_count, models->learns ? 1 : mr_core_count(), &choice);
    mr_log(MR_LOG_INFO, "backend", "auto: %s", choice.because);
    for (size_t i = 0; i < devices.count; i++) {
        if (i + 1 == choice.device)
            mr_units_prefer(units, devices.ops[i], devices.backend[i], row_cap, choice.rows_min);
        else
            devices.ops[i]->close(devices.backend[i]);
    }
}
