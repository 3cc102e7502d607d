#include "pipeline/flight.h"

#include <stdlib.h>

#include "base/clock.h"

#define POSITION_CAP 16 /* partitions in a batch without growing a list */

static void box_settle(struct mr_box *box, size_t count);

static void record_settled(struct mr_outbox *out, struct mr_record *record, mr_status status, mr_reason reason,
                           const char *text)
{
    struct mr_box *box = (struct mr_box *)out;
    if (status && record->row_count) { /* once, also when several sinks refuse it */
        box->flight->undeliverable(box->flight->context, box, record, reason, text);
        box->failed_rows += record->row_count;
        record->row_count = 0;
    }
    box_settle(box, 1);
}

static void records_settled_ok(struct mr_outbox *out, size_t count)
{
    box_settle((struct mr_box *)out, count);
}

static void box_settle(struct mr_box *box, size_t count)
{
    struct mr_ticket *ticket = box->ticket;
    if (count > box->unsettled) {
        if (!box->flight->failure.status) {
            mr_fail(&box->flight->failure, MR_EINVARIANT, "a sink acknowledged %zu records more than it was given",
                    count - box->unsettled);
        }
        count = box->unsettled;
    }
    box->unsettled -= count;
    box->flight->settled += count;
    if (box->unsettled) return;
    if (box->is_dead)
        ticket->dead += box->rows - box->failed_rows;
    else
        ticket->out += box->rows - box->failed_rows;
    ticket->box_count--;
    box->is_used = false;
}

static mr_status box_init(struct mr_flight *flight, struct mr_box *box, size_t record_cap, size_t arena_bytes)
{
    box->flight = flight;
    box->out.settled = record_settled;
    box->out.settled_ok = records_settled_ok;
    box->out.record_cap = record_cap;
    box->out.arena_cap = arena_bytes;
    box->out.record = calloc(record_cap, sizeof *box->out.record);
    box->out.arena = malloc(arena_bytes);
    return box->out.record && box->out.arena ? MR_OK : MR_ENOMEM;
}

mr_status mr_flight_init(struct mr_flight *flight, size_t ticket_cap, size_t box_cap, size_t record_cap,
                         size_t arena_bytes, struct mr_stats *stats, struct mr_err *err)
{
    mr_status status = MR_OK;
    *flight = (struct mr_flight){.ticket_cap = ticket_cap, .box_cap = box_cap, .stats = stats};
    flight->ticket = calloc(ticket_cap, sizeof *flight->ticket);
    flight->box = calloc(box_cap, sizeof *flight->box);
    if (!flight->ticket || !flight->box) status = MR_ENOMEM;
    for (size_t i = 0; i < box_cap && !status; i++) status = box_init(flight, &flight->box[i], record_cap, arena_bytes);
    for (size_t i = 0; i < ticket_cap && !status; i++) {
        struct mr_ticket *ticket = &flight->ticket[i];
        ticket->flight = flight;
        ticket->position = calloc(POSITION_CAP, sizeof *ticket->position);
        ticket->position_cap = POSITION_CAP;
        if (!ticket->position) status = MR_ENOMEM;
    }
    if (!status) return MR_OK;
    mr_flight_deinit(flight);
    return mr_fail(err, MR_ENOMEM, "no memory for %zu outboxes of %zu bytes: lower batch.records_max", box_cap,
                   arena_bytes);
}

void mr_flight_deinit(struct mr_flight *flight)
{
    for (size_t i = 0; flight->ticket && i < flight->ticket_cap; i++) free(flight->ticket[i].position);
    for (size_t i = 0; flight->box && i < flight->box_cap; i++) {
        free(flight->box[i].out.record);
        free(flight->box[i].out.arena);
        free(flight->box[i].header);
    }
    free(flight->ticket);
    free(flight->box);
    free(flight->ready);
    mr_part_free(&flight->covered_at);
    mr_part_free(&flight->ready_at);
    mr_part_free(&flight->gone);
    *flight = (struct mr_flight){0};
}

struct mr_ticket *mr_ticket_open(struct mr_flight *flight)
{
    if (flight->ticket_count == flight->ticket_cap) return NULL;
    struct mr_ticket *ticket = &flight->ticket[(flight->ticket_first + flight->ticket_count++) % flight->ticket_cap];
    struct mr_position *position = ticket->position;
    const size_t position_cap = ticket->position_cap;
    *ticket = (struct mr_ticket){.flight = flight,
                                 .position = position,
                                 .position_cap = position_cap,
                                 .is_open = true,
                                 .polled_ns = mr_clock_ns(),
                                 .oldest_ms = -1,
                                 .sequence = ++flight->sequence};
    return ticket;
}

/* The entry of a partition in a list that grows as needed; NULL: no memory. */
static struct mr_position *position_of(struct mr_position **list, size_t *count, size_t *cap,
                                       struct mr_part_index *index, uint32_t topic, int32_t partition)
{
    const uint32_t at = mr_part_get(index, topic, partition);
    if (at < *count && (*list)[at].partition == partition && (*list)[at].topic == topic) return &(*list)[at];
    if (*count == *cap) {
        const size_t grown_cap = *cap ? *cap * 2 : POSITION_CAP;
        struct mr_position *grown = realloc(*list, grown_cap * sizeof *grown);
        if (!grown) return NULL;
        *list = grown;
        *cap = grown_cap;
    }
    if (!mr_part_set(index, topic, partition, (uint32_t)*count)) return NULL;
    (*list)[*count] = (struct mr_position){topic, partition, 0};
    return &(*list)[(*count)++];
}

/* Notes anew where the partitions of a list stand: they have their places, so nothing can fail. */
static void positions_index(struct mr_part_index *index, const struct mr_position *list, size_t count)
{
    for (size_t i = 0; i < count; i++) mr_part_set(index, list[i].topic, list[i].partition, (uint32_t)i);
}

mr_status mr_ticket_cover(struct mr_ticket *ticket, const struct mr_message *messages, size_t count, struct mr_err *err)
{
    struct mr_part_index *index = &ticket->flight->covered_at;
    struct mr_position *last = NULL; /* messages come in long runs of one partition */
    ticket->messages += count;
    positions_index(index, ticket->position, ticket->position_count); /* others were covered since */
    for (size_t i = 0; i < count; i++) {
        const struct mr_message *message = &messages[i];
        if (!last || last->partition != message->partition || last->topic != message->topic) {
            last = position_of(&ticket->position, &ticket->position_count, &ticket->position_cap, index, message->topic,
                               message->partition);
            if (!last) return mr_fail(err, MR_ENOMEM, "no memory for the positions of a batch");
        }
        last->next_offset = message->offset + 1;
    }
    return MR_OK;
}

void mr_ticket_close(struct mr_ticket *ticket)
{
    ticket->is_open = false;
}

struct mr_box *mr_box_open(struct mr_flight *flight, struct mr_ticket *ticket)
{
    for (size_t i = 0; i < flight->box_cap; i++) {
        struct mr_box *box = &flight->box[i];
        if (box->is_used) continue;
        box->is_used = true;
        box->is_dead = false;
        box->ticket = ticket;
        box->out.count = 0;
        box->out.arena_used = 0;
        box->unsettled = 0;
        box->rows = box->failed_rows = 0;
        ticket->box_count++;
        return box;
    }
    return NULL;
}

void mr_box_seal(struct mr_box *box, size_t sink_count)
{
    box->unsettled = box->out.count * sink_count;
    if (!box->unsettled) {
        if (!box->is_dead) box->ticket->out += box->rows;
        box->ticket->box_count--;
        box->is_used = false;
    }
}

void mr_box_drop(struct mr_box *box)
{
    box->out.count = 0;
    mr_box_seal(box, 0);
}

static mr_status ticket_finish(struct mr_flight *flight, const struct mr_ticket *ticket, struct mr_err *err)
{
    struct mr_stats *stats = flight->stats;
    if (ticket->in != ticket->out + ticket->dead + ticket->filtered) {
        return mr_fail(
            err, MR_EINVARIANT,
            "batch %llu: %llu records in, but %llu out, %llu dead and %llu filtered: nothing of it was committed",
            (unsigned long long)ticket->sequence, (unsigned long long)ticket->in, (unsigned long long)ticket->out,
            (unsigned long long)ticket->dead, (unsigned long long)ticket->filtered);
    }
    for (size_t i = 0; i < ticket->position_count; i++) {
        const struct mr_position *from = &ticket->position[i];
        struct mr_position *into = position_of(&flight->ready, &flight->ready_count, &flight->ready_cap,
                                               &flight->ready_at, from->topic, from->partition);
        if (!into) return mr_fail(err, MR_ENOMEM, "no memory for committed positions");
        into->next_offset = from->next_offset;
    }
    const int64_t now_ns = mr_clock_ns();
    mr_stats_add(&stats->records_out, ticket->out);
    mr_stats_add(&stats->records_dead, ticket->dead);
    mr_stats_add(&stats->records_filtered, ticket->filtered);
    mr_stats_add(&stats->batches, 1);
    if (ticket->in) mr_histogram_add(&stats->process_ns, now_ns - ticket->polled_ns, ticket->in);
    if (ticket->in) mr_histogram_add(&stats->batch_records, (int64_t)ticket->in, 1);
    if (ticket->oldest_ms >= 0)
        mr_histogram_add(&stats->end_to_end_us, (mr_clock_epoch_ms() - ticket->oldest_ms) * 1000, 1);
    if (ticket->out && !atomic_load_explicit(&stats->first_out_ns, memory_order_relaxed))
        atomic_store_explicit(&stats->first_out_ns, now_ns, memory_order_relaxed);
    return MR_OK;
}

mr_status mr_flight_settle(struct mr_flight *flight, struct mr_err *err)
{
    while (flight->ticket_count && !flight->failure.status) {
        struct mr_ticket *ticket = &flight->ticket[flight->ticket_first];
        if (ticket->is_open || ticket->box_count) break;
        const mr_status status = ticket_finish(flight, ticket, err);
        if (status) return status;
        flight->ticket_first = (flight->ticket_first + 1) % flight->ticket_cap;
        flight->ticket_count--;
    }
    if (!flight->failure.status) return MR_OK;
    if (err) *err = flight->failure;
    return flight->failure.status;
}

uint64_t mr_flight_messages(const struct mr_flight *flight)
{
    uint64_t messages = 0;
    for (size_t i = 0; i < flight->ticket_count; i++)
        messages += flight->ticket[(flight->ticket_first + i) % flight->ticket_cap].messages;
    return messages;
}

void mr_flight_reset(struct mr_flight *flight)
{
    for (size_t i = 0; i < flight->box_cap; i++) flight->box[i].is_used = false;
    flight->ticket_first = flight->ticket_count = flight->ready_count = 0;
    flight->failure = (struct mr_err){0};
}

/* Takes out of a list what the forget of that number names. */
static void positions_remove(const struct mr_part_index *gone, uint32_t number, struct mr_position *list, size_t *count)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (mr_part_get(gone, list[i].topic, list[i].partition) != number) list[kept++] = list[i];
    }
    *count = kept;
}

void mr_flight_forget(struct mr_flight *flight, const struct mr_position *positions, size_t count)
{
    const uint32_t number = flight->forgets++;
    for (size_t i = 0; i < count; i++) {
        if (!mr_part_set(&flight->gone, positions[i].topic, positions[i].partition, number) && !flight->failure.status)
            mr_fail(&flight->failure, MR_ENOMEM, "no memory for the partitions that leave");
    }
    positions_remove(&flight->gone, number, flight->ready, &flight->ready_count);
    positions_index(&flight->ready_at, flight->ready, flight->ready_count);
    for (size_t i = 0; i < flight->ticket_count; i++) {
        struct mr_ticket *ticket = &flight->ticket[(flight->ticket_first + i) % flight->ticket_cap];
        positions_remove(&flight->gone, number, ticket->position, &ticket->position_count);
    }
}
