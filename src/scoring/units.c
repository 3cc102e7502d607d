#include "scoring/units.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "registry.h"

static void unit_set(struct mr_unit *unit, const struct mr_backend_ops *ops, struct mr_backend *backend, size_t row_cap)
{
    *unit = (struct mr_unit){.ops = ops, .backend = backend};
    unit->row_cap = mr_tile_count(row_cap) * MR_TILE_ROWS;
    atomic_store(&unit->chunk_rows, unit->row_cap);
}

static mr_status unit_add(struct mr_units *units, const char *name, const char *variant, size_t row_cap,
                          struct mr_err *err)
{
    const struct mr_backend_ops *const ops = mr_backend_find(name);
    struct mr_backend *backend;
    if (!ops) return mr_fail(err, MR_ECONFIG, "backend: \"%s\" is not in this build: see `millrace backends`", name);
    const mr_status status = ops->open(variant, &backend, err);
    if (!status) unit_set(&units->unit[units->count++], ops, backend, row_cap);
    return status;
}

mr_status mr_units_open(struct mr_units *units, const char *wanted, size_t row_cap, bool with_reference,
                        struct mr_err *err)
{
    const char *const colon = strchr(wanted, ':');
    char name[64];
    *units = (struct mr_units){.reference = MR_NO_UNIT};
    snprintf(name, sizeof name, "%.*s", colon ? (int)(colon - wanted) : (int)strlen(wanted), wanted);
    mr_status status = unit_add(units, name, colon ? colon + 1 : NULL, row_cap, err);
    if (!status && strcmp(name, "cpu") != 0) status = unit_add(units, "cpu", NULL, row_cap, err);
    if (!status && with_reference) {
        units->reference = units->count;
        status = unit_add(units, "cpu", "ref", row_cap, err);
    }
    if (status) mr_units_close(units);
    return status;
}

void mr_units_prefer(struct mr_units *units, const struct mr_backend_ops *ops, struct mr_backend *backend,
                     size_t row_cap, size_t rows_min)
{
    for (size_t i = units->count++; i-- > 0;) {
        unit_set(&units->unit[i + 1], units->unit[i].ops, units->unit[i].backend, row_cap);
        units->unit[i + 1].rows_min = units->unit[i].rows_min;
    }
    if (units->reference != MR_NO_UNIT) units->reference++;
    unit_set(&units->unit[0], ops, backend, row_cap);
    units->unit[0].rows_min = rows_min;
}

/* The next unit behind `unit` that batches may go to; MR_NO_UNIT: none. */
static size_t next_of(const struct mr_units *units, size_t unit)
{
    for (size_t i = unit + 1; i < units->count; i++) {
        if (!atomic_load(&units->unit[i].is_left)) return i;
    }
    return MR_NO_UNIT;
}

size_t mr_unit_pick(const struct mr_units *units, size_t rows)
{
    size_t unit = 0;
    for (size_t i = 0; i < units->count; i++) {
        if (atomic_load_explicit(&units->unit[i].is_left, memory_order_relaxed)) continue;
        unit = i;
        if (rows >= units->unit[i].rows_min) break;
    }
    return unit;
}

void mr_unit_leave(struct mr_units *units, size_t unit, const char *why)
{
    const size_t next = next_of(units, unit);
    if (next == MR_NO_UNIT || atomic_exchange(&units->unit[unit].is_left, true)) return;
    mr_log(MR_LOG_ERROR, "backend", "%s is left: %s: going on with %s; outputs and what was learned are whole",
           units->unit[unit].ops->describe(units->unit[unit].backend), why,
           units->unit[next].ops->describe(units->unit[next].backend));
}

/* Half as many rows at once; false: it is at one tile. */
static bool chunk_halve(struct mr_unit *unit)
{
    size_t rows = atomic_load(&unit->chunk_rows);
    if (rows <= MR_TILE_ROWS) return false;
    const size_t half = mr_tile_count(rows / 2) * MR_TILE_ROWS;
    if (atomic_compare_exchange_strong(&unit->chunk_rows, &rows, half))
        mr_log(MR_LOG_WARN, "backend", "%s is out of memory: at most %zu rows at once from here on",
               unit->ops->describe(unit->backend), half);
    return true;
}

bool mr_unit_recover(struct mr_units *units, size_t unit, mr_status status, const struct mr_err *err)
{
    if ((status != MR_ENOMEM && status != MR_EBACKEND) || next_of(units, unit) == MR_NO_UNIT) return false;
    if (status == MR_ENOMEM && chunk_halve(&units->unit[unit])) return true;
    mr_unit_leave(units, unit, err->text);
    return true;
}

static const char *unit_text(const struct mr_unit *unit, bool is_kind)
{
    return is_kind && unit->ops->kind ? unit->ops->kind(unit->backend) : unit->ops->describe(unit->backend);
}

static void units_print(const struct mr_units *units, bool is_kind, char *text, size_t bytes)
{
    const size_t large = mr_unit_pick(units, SIZE_MAX), small = mr_unit_pick(units, 0);
    const struct mr_unit *const first = &units->unit[large], *const second = &units->unit[small];
    if (large == small)
        snprintf(text, bytes, "%s", unit_text(first, is_kind));
    else
        snprintf(text, bytes, "%s, batches below %zu rows %s", unit_text(first, is_kind), first->rows_min,
                 unit_text(second, is_kind));
}

void mr_units_describe(const struct mr_units *units, char *text, size_t bytes)
{
    units_print(units, false, text, bytes);
}

void mr_units_kind(const struct mr_units *units, char *text, size_t bytes)
{
    units_print(units, true, text, bytes);
}

bool mr_units_overlap(const struct mr_units *units)
{
    return units->unit[mr_unit_pick(units, SIZE_MAX)].ops->overlaps;
}

void *mr_units_slab_acquire(const struct mr_units *units, size_t bytes)
{
    return units->unit[0].ops->slab_acquire(units->unit[0].backend, bytes);
}

void mr_units_slab_release(const struct mr_units *units, void *slab, size_t bytes)
{
    units->unit[0].ops->slab_release(units->unit[0].backend, slab, bytes);
}

mr_status mr_queues_open(struct mr_queues *queues, const struct mr_units *units, struct mr_err *err)
{
    mr_status status = MR_OK;
    *queues = (struct mr_queues){0};
    for (size_t i = 0; i < units->count && !status; i++)
        status = units->unit[i].ops->queue_open(units->unit[i].backend, &queues->queue[i], err);
    if (status) mr_queues_close(queues, units);
    return status;
}

void mr_queues_close(struct mr_queues *queues, const struct mr_units *units)
{
    for (size_t i = 0; i < units->count; i++) {
        if (queues->queue[i]) units->unit[i].ops->queue_close(queues->queue[i]);
    }
    *queues = (struct mr_queues){0};
}

void mr_units_close(struct mr_units *units)
{
    for (size_t i = 0; i < units->count; i++) units->unit[i].ops->close(units->unit[i].backend);
    *units = (struct mr_units){.reference = MR_NO_UNIT};
}
