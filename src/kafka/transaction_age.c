#include "kafka/transaction_age.h"

#define MARGIN_MS 2000 /* before the coordinator may end a transaction; of short ones a quarter */
#define STILL_US  3000000

void mr_age_begin(struct mr_transaction_age *age)
{
    *age = (struct mr_transaction_age){0};
}

void mr_age_known(struct mr_transaction_age *age, int64_t now_us)
{
    if (!age->known_us) age->known_us = age->seen_us = now_us;
}

void mr_age_seen(struct mr_transaction_age *age, int64_t now_us, int64_t allowed_ms)
{
    if (age->seen_us && now_us - age->seen_us > allowed_ms * 1000 + STILL_US) age->has_stood_still = true;
    age->seen_us = now_us;
}

int mr_age_left_ms(const struct mr_transaction_age *age, int64_t now_us, int64_t limit_ms, int most_ms)
{
    const int64_t margin_ms = limit_ms / 4 < MARGIN_MS ? limit_ms / 4 : MARGIN_MS;
    if (!age->known_us || age->has_stood_still) return most_ms;
    const int64_t left_ms = limit_ms - margin_ms - (now_us - age->known_us) / 1000;
    return left_ms <= 0 ? 0 : left_ms < most_ms ? (int)left_ms : most_ms;
}

bool mr_age_is_over(const struct mr_transaction_age *age, int64_t now_us, int64_t limit_ms)
{
    return age->known_us && !age->has_stood_still && now_us - age->known_us >= limit_ms * 1000;
}
