/* Rules: which frames meet with which fault. */
#include <stdlib.h>
#include <string.h>

#include "proxy.h"

static struct rule *rules;
static unsigned rule_count;

unsigned rule_add(const struct rule *rule)
{
    struct rule *copy = must(malloc(sizeof *copy)), **last = &rules;
    *copy = *rule;
    copy->next = NULL;
    copy->number = ++rule_count;
    while (*last) last = &(*last)->next;
    *last = copy;
    return copy->number;
}

static double random_share(uint64_t *seed) /* splitmix64 */
{
    uint64_t value = *seed += 0x9e3779b97f4a7c15;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return (double)((value ^ value >> 31) >> 11) * 0x1p-53;
}

static bool is_met(struct rule *rule, enum side side, const struct link *link, const struct about *about)
{
    if (rule->side != side || rule->fired >= rule->times) return false;
    if (rule->api != ANY && rule->api != about->api) return false;
    if (rule->node != ANY && rule->node != link->node) return false;
    if (!strstr(about->client, rule->client) || !strstr(about->id, rule->id)) return false;
    rule->matched++;
    if (rule->matched <= rule->skip || (rule->matched - rule->skip) % rule->every) return false;
    if (rule->probability < 1 && random_share(&rule->seed) >= rule->probability) return false;
    rule->fired++;
    return true;
}

struct verdict rules_ask(enum side side, const struct link *link, const struct about *about)
{
    struct verdict verdict = {0};
    for (struct rule *rule = rules; rule; rule = rule->next) {
        const bool is_decided = verdict.rule && (rule->action == HOLD || rule->action == DROP);
        if (is_decided || !is_met(rule, side, link, about)) continue;
        if (rule->action == DELAY) {
            verdict.delay_s += rule->delay_s;
        } else if (rule->action == WATCH) {
            event_frame("seen", rule->number, side, link, about, ANY);
        } else {
            verdict.rule = rule;
        }
    }
    return verdict;
}

bool rule_clear(unsigned number)
{
    bool found = !number;
    for (struct rule **at = &rules; *at;) {
        struct rule *rule = *at;
        if (number && rule->number != number) {
            at = &rule->next;
            continue;
        }
        found = true;
        *at = rule->next;
        free(rule);
    }
    return found;
}

void rules_each(void (*take)(const struct rule *rule))
{
    for (const struct rule *rule = rules; rule; rule = rule->next) take(rule);
}
