#include "sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fibre/fibre.h"
#include "sim/fake_kafka.h"
#include "sim/instance.h"

#define STACK_BYTES ((size_t)128 << 10) /* of an instance */

#define HEAP_MAX     4096
#define REQUESTS_MAX 1024

struct sim_world *sim_world_create(void)
{
    struct sim_world *const world = calloc(1, sizeof *world);
    if (!world) abort();
    world->kafka = calloc(1, sizeof *world->kafka);
    world->instance = calloc(SIM_INSTANCES_MAX, sizeof *world->instance);
    world->heap = calloc(HEAP_MAX, sizeof *world->heap);
    world->request = calloc(REQUESTS_MAX, sizeof *world->request);
    world->free = calloc(REQUESTS_MAX, sizeof *world->free);
    if (!world->kafka || !world->instance || !world->heap || !world->request || !world->free) abort();
    for (int i = 0; i < SIM_INSTANCES_MAX; i++)
        if (!(world->instance[i].fibre = fibre_create(STACK_BYTES))) abort();
    return world;
}

void sim_world_destroy(struct sim_world *world)
{
    for (int i = 0; i < SIM_INSTANCES_MAX; i++) fibre_destroy(world->instance[i].fibre);
    free(world->kafka);
    free(world->instance);
    free(world->heap);
    free(world->request);
    free(world->free);
    free(world);
}

void sim_world_reset(struct sim_world *world, uint64_t seed)
{
    world->seed = seed;
    world->chance = seed * 0x9E3779B97F4A7C15u + 1;
    world->events = 0;
    world->now_ms = 0;
    world->violation[0] = '\0';
    world->planted = (struct sim_planted){0};
    world->last_handle = world->last_ticket = 0;
    world->event_order = 0;
    world->heap_count = 0;
    world->free_count = REQUESTS_MAX;
    for (unsigned i = 0; i < REQUESTS_MAX; i++) world->free[i] = (uint16_t)i;
    sim_kafka_reset(world);
    for (int i = 0; i < SIM_INSTANCES_MAX; i++) sim_instance_reset(world, i);
}

static uint64_t chance_next(struct sim_world *world)
{
    uint64_t z = world->chance += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

int64_t sim_between(struct sim_world *world, int64_t lowest, int64_t highest)
{
    return lowest + (int64_t)(chance_next(world) % (uint64_t)(highest - lowest + 1));
}

bool sim_chance(struct sim_world *world, unsigned of_1000)
{
    return chance_next(world) % 1000 < of_1000;
}

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void heap_put(struct sim_world *world, struct sim_event event)
{
    unsigned at = world->heap_count++;
    if (at == HEAP_MAX) {
        fprintf(stderr, "seed %llu: too many events\n", (unsigned long long)world->seed);
        abort();
    }
    for (; at && is_before(&event, &world->heap[(at - 1) / 2]); at = (at - 1) / 2)
        world->heap[at] = world->heap[(at - 1) / 2];
    world->heap[at] = event;
}

void sim_event_add(struct sim_world *world, int64_t at_ms, sim_event_kind kind, int instance, uint32_t a, uint32_t b)
{
    /* What is due at the same time comes in any order. */
    const uint64_t order = chance_next(world) << 32 | (world->event_order++ & UINT32_MAX);
    heap_put(world, (struct sim_event){.at_ms = at_ms < world->now_ms ? world->now_ms : at_ms,
                                       .order = order,
                                       .kind = kind,
                                       .instance = instance,
                                       .life = instance >= 0 ? world->instance[instance].life : 0,
                                       .a = a,
                                       .b = b});
}

void sim_event_put_back(struct sim_world *world, struct sim_event event, int64_t at_ms)
{
    event.at_ms = at_ms;
    heap_put(world, event);
}

bool sim_event_take(struct sim_world *world, struct sim_event *event_out)
{
    if (!world->heap_count) return false;
    *event_out = world->heap[0];
    const struct sim_event last = world->heap[--world->heap_count];
    unsigned at = 0;
    for (unsigned child; (child = 2 * at + 1) < world->heap_count; at = child) {
        if (child + 1 < world->heap_count && is_before(&world->heap[child + 1], &world->heap[child])) child++;
        if (!is_before(&world->heap[child], &last)) break;
        world->heap[at] = world->heap[child];
    }
    world->heap[at] = last;
    world->now_ms = event_out->at_ms;
    world->events++;
    return true;
}

void sim_say_line(const struct sim_world *world, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("%8.3f  ", (double)world->now_ms / 1000);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}

void sim_violate(struct sim_world *world, const char *format, ...)
{
    va_list arguments;
    if (world->violation[0]) return;
    va_start(arguments, format);
    vsnprintf(world->violation, sizeof world->violation, format, arguments);
    va_end(arguments);
    sim_say(world, "*** %s", world->violation);
}

const char *sim_api_name(sim_api api)
{
    static const char *const name[SIM_APIS] = {
        "InitProducerId", "AddPartitionsToTxn", "Produce",      "AddOffsetsToTxn", "TxnOffsetCommit",
        "EndTxn",         "OffsetFetch",        "OffsetCommit", "JoinGroup",       "Heartbeat"};
    return name[api];
}

const char *sim_error_name(sim_error error)
{
    static const char *const name[SIM_ERRORS] = {"ok",
                                                 "CONCURRENT_TRANSACTIONS",
                                                 "NOT_COORDINATOR",
                                                 "UNSTABLE_OFFSET_COMMIT",
                                                 "PRODUCER_FENCED",
                                                 "INVALID_PRODUCER_EPOCH",
                                                 "INVALID_TXN_STATE",
                                                 "OUT_OF_ORDER_SEQUENCE_NUMBER",
                                                 "ILLEGAL_GENERATION",
                                                 "UNKNOWN_MEMBER_ID",
                                                 "REBALANCE_IN_PROGRESS",
                                                 "FENCED_INSTANCE_ID",
                                                 "MEMBER_ID_REQUIRED",
                                                 "timed out",
                                                 "failed locally"};
    return name[error];
}

static void request_copy(struct sim_request *to, const struct sim_request *from)
{
    memcpy(to, from, offsetof(struct sim_request, record) + from->count * sizeof from->record[0]);
}

void sim_request_free(struct sim_world *world, uint32_t index)
{
    world->free[world->free_count++] = (uint16_t)index;
}

/* How long a message travels. */
static int64_t travel_ms(struct sim_world *world, bool is_met)
{
    if (is_met && sim_chance(world, world->plan.slow)) return sim_between(world, 5, 900);
    return sim_between(world, 1, 4);
}

static bool is_met(const struct sim_world *world, const struct sim_request *request)
{
    return world->now_ms < world->plan.calm_ms && (world->plan.apis >> request->api & 1);
}

void sim_send(struct sim_world *world, const struct sim_request *request)
{
    const bool met = is_met(world, request);
    int64_t ms = travel_ms(world, met);
    const char *how = "";
    if (!world->free_count) {
        fprintf(stderr, "seed %llu: too many requests\n", (unsigned long long)world->seed);
        abort();
    }
    sim_instance_count(world, request);
    if (met && sim_chance(world, world->plan.lose)) {
        sim_say(world, "i%d    %s #%u is lost on its way", request->instance, sim_api_name(request->api),
                request->ticket);
        return;
    }
    if (met && sim_chance(world, world->plan.hold)) {
        ms = sim_between(world, SIM_SOCKET_MS / 2, world->plan.hold_max_ms);
        how = ", held on its way";
    }
    const uint32_t index = world->free[--world->free_count];
    request_copy(&world->request[index], request);
    sim_say(world, "i%d    sends %s #%u%s", request->instance, sim_api_name(request->api), request->ticket, how);
    sim_event_add(world, world->now_ms + ms, SIM_EV_ARRIVAL, -1, index, 0);
}

void sim_answer(struct sim_world *world, uint32_t index)
{
    const struct sim_request *const request = &world->request[index];
    const struct sim_instance *const instance = &world->instance[request->instance];
    const bool met = is_met(world, request);
    const bool lost = met && sim_chance(world, world->plan.lose_answer);
    sim_say(world, "kafka answers %s #%u of i%d: %s%s", sim_api_name(request->api), request->ticket, request->instance,
            sim_error_name(request->error), lost ? ", lost on its way" : "");
    if (lost || !instance->is_alive || instance->life != request->life)
        sim_request_free(world, index);
    else
        sim_event_add(world, world->now_ms + travel_ms(world, met), SIM_EV_ANSWER, request->instance, index, 0);
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 33) * 0xFF51AFD7ED558CCDu;
    return z ^ z >> 29;
}

uint64_t sim_learn(uint64_t hash, int partition, int offset)
{
    return mix(hash * 31 + ((uint64_t)partition << 32 | (uint64_t)(offset + 1)));
}

sim_fate sim_fate_of(int partition, int offset)
{
    const uint64_t n = mix((uint64_t)partition * 1000 + (uint64_t)offset + 77) >> 13;
    if (n % 8 == 0) return SIM_IS_FILTERED;
    return n % 8 == 1 ? SIM_IS_DEAD : SIM_IS_OUTPUT;
}
