/* The benchmark workloads; workload.py makes the same numbers. */
#include "workload.h"

#include <string.h>

#define SEED_A UINT64_C(0x1001)
#define SEED_B UINT64_C(0x2002)

static const uint64_t power10[] = {1, 10, 100, 1000, 10000, 100000, 1000000};

/* splitmix64 of a counter: the k-th number without the ones before it. */
static uint64_t mix(uint64_t seed, uint64_t k)
{
    uint64_t z = seed * UINT64_C(0xD1342543DE82EF95) + (k + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

size_t bench_print_u64(uint64_t value, char *out)
{
    char digits[20];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    for (size_t i = 0; i < count; i++) out[i] = digits[count - 1 - i];
    return count;
}

/* mantissa / 10^decimals, all decimals written. */
static size_t print_decimal(uint64_t mantissa, unsigned decimals, char *out)
{
    size_t at = bench_print_u64(mantissa / power10[decimals], out);
    uint64_t rest = mantissa % power10[decimals];
    out[at++] = '.';
    for (unsigned i = decimals; i > 0; i--) {
        out[at + i - 1] = (char)('0' + rest % 10);
        rest /= 10;
    }
    return at + decimals;
}

/* 5.00 to 109.99, two decimals. */
static size_t write_a(uint64_t k, char *out)
{
    static const char head[] = "{\"Temperature\": ";
    memcpy(out, head, sizeof head - 1);
    size_t at = sizeof head - 1;
    at += print_decimal(500 + mix(SEED_A, k) % 10500, 2, out + at);
    out[at++] = '}';
    return at;
}

/* 4 to 6 significant digits. As in data of real instruments a column keeps its unit: the point stands before the first
   digit, behind it, or one further, and one column in four has negative values, half of them. */
static size_t write_b(uint64_t k, char *out)
{
    size_t at = 0;
    for (uint64_t j = 0; j < 16; j++) {
        const uint64_t h = mix(SEED_B, k * 16 + j);
        const unsigned digits = 4 + (unsigned)(h % 3), before = (unsigned)(j % 3);
        const uint64_t mantissa = power10[digits - 1] + (h >> 8) % (UINT64_C(1) << 32) % (9 * power10[digits - 1]);
        const char head[] = {j ? ',' : '{', '"', 'f', (char)('0' + j / 10), (char)('0' + j % 10), '"', ':'};
        memcpy(out + at, head, sizeof head);
        at += sizeof head;
        if (j % 4 == 3 && h >> 63) out[at++] = '-';
        at += print_decimal(mantissa, digits - before, out + at);
    }
    out[at++] = '}';
    return at;
}

static const struct bench_workload workloads[] = {
    {.name = "A", .features = 1, .classes = 6, .records = 4000000, .records_per_message = 1, .write = write_a},
    {.name = "B", .features = 16, .classes = 8, .records = 2000000, .records_per_message = 1, .write = write_b},
    {.name = "BL", .features = 16, .classes = 8, .records = 2000000, .records_per_message = 100, .write = write_b},
};

const struct bench_workload *bench_workload_find(const char *name)
{
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++) {
        if (!strcmp(workloads[i].name, name)) return &workloads[i];
    }
    return NULL;
}

struct bench_place bench_place_of(const struct bench_workload *workload, uint64_t k, uint32_t partitions)
{
    const uint64_t message = k / workload->records_per_message;
    return (struct bench_place){.partition = (uint32_t)(message % partitions), .offset = message / partitions};
}
