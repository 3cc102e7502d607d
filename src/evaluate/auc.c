#include "evaluate/auc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIGN_BIT 0x80000000u

uint64_t mr_auc_key(float score, bool is_positive)
{
    uint32_t bits;
    score += 0; /* of two zeros one */
    memcpy(&bits, &score, sizeof bits);
    bits = bits & SIGN_BIT ? ~bits : bits | SIGN_BIT; /* as unsigned numbers in the order of the scores */
    return (uint64_t)bits << 32 | is_positive;
}

static int key_compare(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

double mr_auc(uint64_t *key, size_t count)
{
    uint64_t positives = 0, negatives = 0;
    double pairs = 0; /* that are in order, ties half; doubled so that it is a whole number */
    qsort(key, count, sizeof *key, key_compare);
    for (size_t i = 0; i < count;) {
        uint64_t tied[2] = {0};
        const uint64_t score = key[i] >> 32;
        for (; i < count && key[i] >> 32 == score; i++) tied[key[i] & 1]++;
        pairs += (double)tied[1] * (double)(2 * negatives + tied[0]);
        negatives += tied[0];
        positives += tied[1];
    }
    return positives && negatives ? pairs / 2 / ((double)positives * (double)negatives) : NAN;
}

size_t mr_roc_curve(const uint64_t *key, size_t count, struct mr_roc_point *point, size_t cap)
{
    uint64_t total[2] = {0}, passed[2] = {0};
    size_t used = 1;
    for (size_t i = 0; i < count; i++) total[key[i] & 1]++;
    if (!total[0] || !total[1] || cap < 2) return 0;
    const double step = 2.0 / (double)(cap - 1); /* of both rates together: no more than cap - 1 of them */
    point[0] = (struct mr_roc_point){0};
    for (size_t i = count; i;) {
        const uint64_t score = key[i - 1] >> 32;
        for (; i && key[i - 1] >> 32 == score; i--) passed[key[i - 1] & 1]++;
        const struct mr_roc_point at = {(double)passed[0] / (double)total[0], (double)passed[1] / (double)total[1]};
        const struct mr_roc_point *const last = &point[used - 1];
        const bool is_far = at.false_rate - last->false_rate + at.true_rate - last->true_rate >= step;
        if (i && is_far && used < cap - 1) point[used++] = at;
    }
    point[used++] = (struct mr_roc_point){1, 1};
    return used;
}
