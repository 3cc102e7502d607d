/**
 * The benchmark workloads, made from counters: any record can be made alone, in any order, the same on every machine
 * and in workload.py. Record k is line k of the workload; how records are put into messages and partitions is said at
 * bench_place.
 *
 *   A   {"Temperature": 21.53}                         about 22 bytes, one feature, scored by the MLP 1-6-8-6
 *   B   {"f00":0.1234,"f01":9.8765,...,"f15":0.123456}  about 216 bytes, 16 features, scored by the MLP 16-32-8
 *   BL  the records of B, 100 of them a message, separated by line feeds
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>

/** No record of any workload is longer. */
#define BENCH_RECORD_BYTES_MAX 320

struct bench_workload {
    const char *name;
    size_t features;  /* numbers a record */
    size_t classes;   /* classes of its model */
    uint64_t records; /* of the full run */
    size_t records_per_message;
    /* Writes record k at out (BENCH_RECORD_BYTES_MAX must fit), no terminator; returns its bytes. */
    size_t (*write)(uint64_t k, char *out);
};

/** By name; NULL when there is none. */
const struct bench_workload *bench_workload_find(const char *name);

/** Message m lies on partition m % partitions at offset m / partitions; record k is in message k / records_per_message.
 */
struct bench_place {
    uint32_t partition;
    uint64_t offset;
};
struct bench_place bench_place_of(const struct bench_workload *workload, uint64_t k, uint32_t partitions);

/** Writes value in decimal at out (20 bytes must fit), no terminator; returns the bytes. */
size_t bench_print_u64(uint64_t value, char *out);

#endif
