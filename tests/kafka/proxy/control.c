/* The control channel: commands in lines of words on standard input; answers and events in lines of JSON on standard
 * output. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy.h"

#define LINE_BYTES 4096
#define WORD_MAX   32

static const char *const side_names[] = {"request", "response"};

/* ---------------------------------------------------------------------------------------------------------- said */

static void say_text(const char *text)
{
    putchar('"');
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at == '"' || *at == '\\')
            printf("\\%c", *at);
        else if (*at < 0x20 || *at > 0x7e)
            printf("\\u%04x", *at);
        else
            putchar(*at);
    }
    putchar('"');
}

static void say_pair(const char *key, const char *text)
{
    printf(",\"%s\":", key);
    say_text(text);
}

static void say_end(void)
{
    puts("}");
    fflush(stdout);
}

static void say_about(const struct about *about)
{
    if (api_name(about->api)) say_pair("api", api_name(about->api));
    printf(",\"api_key\":%d,\"version\":%d,\"correlation\":%d", about->api, about->version, about->correlation);
    say_pair("client", about->client);
    if (about->id[0]) say_pair("id", about->id);
    if (about->epoch < 0) return;
    printf(",\"producer\":%lld,\"epoch\":%d,\"commit\":%s", (long long)about->producer, about->epoch,
           about->is_commit ? "true" : "false");
}

void event_frame(const char *name, unsigned rule, enum side side, const struct link *link, const struct about *about,
                 int error)
{
    printf("{\"event\":\"%s\",\"direction\":\"%s\",\"node\":%d,\"connection\":%u", name, side_names[side],
           link->node + 1, link->number);
    if (rule) printf(",\"rule\":%u", rule);
    if (error != ANY) printf(",\"error\":%d", error);
    say_about(about);
    say_end();
}

void event_link(const char *name, const struct link *link)
{
    printf("{\"event\":\"%s\",\"node\":%d,\"connection\":%u", name, link->node + 1, link->number);
    say_pair("client", link->client);
    say_end();
}

void event_ready(void)
{
    printf("{\"event\":\"ready\",\"ports\":[");
    for (int i = 0; i < node_count; i++) printf("%s%u", i ? "," : "", nodes[i].port);
    printf("]");
    say_end();
}

/* ---------------------------------------------------------------------------------------------------------- words */

struct words {
    char *word[WORD_MAX];
    size_t count, next;
    char complaint[256];
};

static void complain(struct words *words, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first complaint is the one that is told. */
static void complain(struct words *words, const char *format, ...)
{
    va_list arguments;
    if (words->complaint[0]) return;
    va_start(arguments, format);
    vsnprintf(words->complaint, sizeof words->complaint, format, arguments);
    va_end(arguments);
}

static const char *word_take(struct words *words, const char *what)
{
    if (words->next < words->count) return words->word[words->next++];
    complain(words, "%s is missing", what);
    return "";
}

static double number_take(struct words *words, const char *what, double least, double most)
{
    const char *word = word_take(words, what);
    char *end;
    const double number = strtod(word, &end);
    if (*end || !(number >= least && number <= most)) {
        complain(words, "%s: \"%s\" is not a number from %g to %g", what, word, least, most);
        return least;
    }
    return number;
}

static bool word_is(struct words *words, const char *word)
{
    if (words->next >= words->count || strcmp(words->word[words->next], word) != 0) return false;
    words->next++;
    return true;
}

static void text_take(struct words *words, const char *what, char *out)
{
    const char *word = word_take(words, what);
    if (strlen(word) >= TEXT_MAX)
        complain(words, "%s: longer than %d", what, TEXT_MAX - 1);
    else
        strcpy(out, word);
}

/* [node N] [client TEXT]; node ANY and "" otherwise. */
static void place_take(struct words *words, int *node_out, char *client_out)
{
    *node_out = ANY;
    client_out[0] = '\0';
    while (words->next < words->count) {
        if (word_is(words, "node"))
            *node_out = (int)number_take(words, "node", 1, node_count) - 1;
        else if (word_is(words, "client"))
            text_take(words, "client", client_out);
        else
            break;
    }
}

static unsigned rule_number_take(struct words *words)
{
    return word_is(words, "all") ? 0 : (unsigned)number_take(words, "the number of the rule", 1, 1e9);
}

/* ---------------------------------------------------------------------------------------------------------- rules */

static void rule_option(struct words *words, struct rule *rule)
{
    if (word_is(words, "client"))
        text_take(words, "client", rule->client);
    else if (word_is(words, "id"))
        text_take(words, "id", rule->id);
    else if (word_is(words, "node"))
        rule->node = (int)number_take(words, "node", 1, node_count) - 1;
    else if (word_is(words, "skip"))
        rule->skip = (uint64_t)number_take(words, "skip", 0, 1e15);
    else if (word_is(words, "every"))
        rule->every = (uint64_t)number_take(words, "every", 1, 1e15);
    else if (word_is(words, "times"))
        rule->times = (uint64_t)number_take(words, "times", 1, 1e15);
    else if (word_is(words, "probability"))
        rule->probability = number_take(words, "probability", 0, 1);
    else if (word_is(words, "seed"))
        rule->seed = (uint64_t)number_take(words, "seed", 0, 1e15);
    else if (rule->action == HOLD && word_is(words, "for"))
        rule->hold_s = number_take(words, "for", 0, 1e9) / 1e3;
    else if (rule->action >= HOLD && word_is(words, "cut"))
        rule->ending = CUT;
    else if (rule->action >= HOLD && word_is(words, "reset"))
        rule->ending = RESET;
    else if (rule->action == DROP && word_is(words, "silent"))
        rule->ending = SILENT;
    else
        complain(words, "unknown word \"%s\"", word_take(words, "a word"));
}

static void rule_command(struct words *words, enum action action)
{
    struct rule rule = {.action = action,
                        .ending = action == DROP ? CUT : SILENT,
                        .node = ANY,
                        .hold_s = FOREVER_S,
                        .every = 1,
                        .times = action == HOLD ? 1 : UINT64_MAX,
                        .probability = 1,
                        .seed = 1};
    const char *side = word_take(words, "request or response");
    if (!strcmp(side, "request"))
        rule.side = TO_BROKER;
    else if (!strcmp(side, "response"))
        rule.side = TO_CLIENT;
    else
        complain(words, "\"%s\" is neither request nor response", side);
    const char *api = word_take(words, "the api");
    rule.api = api_find(api);
    if (rule.api < ANY) complain(words, "there is no api \"%s\"", api);
    if (action == DELAY) rule.delay_s = number_take(words, "milliseconds", 0, 1e9) / 1e3;
    while (words->next < words->count && !words->complaint[0]) rule_option(words, &rule);
    if (action == HOLD && rule.side == TO_CLIENT && rule.ending != SILENT) {
        complain(words, "an answer that is held while its connection is cut is one that is dropped");
    }
    if (!words->complaint[0]) printf(",\"rule\":%u", rule_add(&rule));
}

static void delay_command(struct words *words)
{
    rule_command(words, DELAY);
}
static void hold_command(struct words *words)
{
    rule_command(words, HOLD);
}
static void drop_command(struct words *words)
{
    rule_command(words, DROP);
}
static void watch_command(struct words *words)
{
    rule_command(words, WATCH);
}

static void clear_command(struct words *words)
{
    const unsigned number = rule_number_take(words);
    if (!words->complaint[0] && !rule_clear(number)) complain(words, "there is no rule %u", number);
}

static void release_command(struct words *words)
{
    const unsigned number = rule_number_take(words);
    if (!words->complaint[0]) printf(",\"frames\":%u", links_release(number));
}

static void say_rule(const struct rule *rule)
{
    printf("\"%u\":{\"matched\":%llu,\"fired\":%llu}", rule->number, (unsigned long long)rule->matched,
           (unsigned long long)rule->fired);
    if (rule->next) putchar(',');
}

static void rules_command(struct words *words)
{
    (void)words;
    printf(",\"rules\":{");
    rules_each(say_rule);
    putchar('}');
}

/* ---------------------------------------------------------------------------------------------------------- nodes */

static void target_command(struct words *words)
{
    const int node = (int)number_take(words, "node", 1, node_count) - 1;
    const uint16_t port = (uint16_t)number_take(words, "port", 1, 65535);
    if (words->complaint[0]) return;
    nodes[node].target = port;
    node_listen(node);
}

/* One setting of one node or of all. */
static void nodes_set(struct words *words, void (*set)(struct node *node, double value), double value)
{
    int only;
    char client[TEXT_MAX];
    place_take(words, &only, client);
    if (client[0]) complain(words, "this is for all clients of a node");
    if (words->complaint[0]) return;
    for (int i = 0; i < node_count; i++) {
        if (only != ANY && only != i) continue;
        set(&nodes[i], value);
        node_listen(i);
    }
}

static void set_refusing(struct node *node, double value)
{
    node->is_refusing = value > 0;
}
static void set_rate(struct node *node, double value)
{
    node->rate = value;
}
static void set_hole(struct node *node, double sides)
{
    node->is_hole[TO_BROKER] = (int)sides & 1;
    node->is_hole[TO_CLIENT] = (int)sides & 2;
}

static void refuse_command(struct words *words)
{
    nodes_set(words, set_refusing, 1);
}
static void accept_command(struct words *words)
{
    nodes_set(words, set_refusing, 0);
}
static void pass_command(struct words *words)
{
    nodes_set(words, set_hole, 0);
}

static void rate_command(struct words *words)
{
    const double rate = number_take(words, "bytes per second", 0, 1e12);
    nodes_set(words, set_rate, rate);
}

static void hole_command(struct words *words)
{
    const char *sides = word_take(words, "requests, responses or both");
    const int value = !strcmp(sides, "requests") ? 1 : !strcmp(sides, "responses") ? 2 : !strcmp(sides, "both") ? 3 : 0;
    if (!value) complain(words, "\"%s\" is not requests, responses or both", sides);
    nodes_set(words, set_hole, value);
}

static void cut_links(struct words *words, bool is_reset)
{
    int node;
    char client[TEXT_MAX];
    place_take(words, &node, client);
    if (!words->complaint[0]) printf(",\"connections\":%u", links_cut(node, client, is_reset));
}

static void cut_command(struct words *words)
{
    cut_links(words, false);
}
static void reset_command(struct words *words)
{
    cut_links(words, true);
}

/* ---------------------------------------------------------------------------------------------------------- seen */

static void say_counts(const char *key, const uint64_t *counts)
{
    printf(",\"%s\":{", key);
    const char *comma = "";
    for (int api = 0; api < API_MAX; api++) {
        if (!counts[api]) continue;
        if (api_name(api))
            printf("%s\"%s\":%llu", comma, api_name(api), (unsigned long long)counts[api]);
        else
            printf("%s\"%d\":%llu", comma, api, (unsigned long long)counts[api]);
        comma = ",";
    }
    putchar('}');
}

static void counts_command(struct words *words)
{
    const bool is_zeroed = word_is(words, "zero");
    unsigned open = 0;
    for (const struct link *link = links; link; link = link->next) open += link->end[TO_CLIENT].fd >= 0;
    printf(",\"connects\":%llu,\"open\":%u", (unsigned long long)connects, open);
    say_counts("requests", requests);
    say_counts("responses", answers);
    if (!is_zeroed) return;
    connects = 0;
    memset(requests, 0, sizeof requests);
    memset(answers, 0, sizeof answers);
}

static void connections_command(struct words *words)
{
    (void)words;
    printf(",\"connections\":[");
    for (const struct link *link = links; link; link = link->next) {
        printf("%s{\"connection\":%u,\"node\":%d", link == links ? "" : ",", link->number, link->node + 1);
        say_pair("client", link->client);
        printf(",\"is_cut\":%s,\"waiting_requests\":%zu,\"waiting_bytes\":[%zu,%zu]}",
               link->end[TO_CLIENT].fd < 0 ? "true" : "false", link->pending_count, link->way[TO_BROKER].queued_bytes,
               link->way[TO_CLIENT].queued_bytes);
    }
    putchar(']');
}

static bool has_quit;
static void quit_command(struct words *words)
{
    (void)words;
    has_quit = true;
}

/* ---------------------------------------------------------------------------------------------------------- lines */

static const struct {
    const char *name;
    void (*run)(struct words *words);
} commands[] = {
    {"target", target_command},
    {"delay", delay_command},
    {"hold", hold_command},
    {"drop", drop_command},
    {"watch", watch_command},
    {"release", release_command},
    {"clear", clear_command},
    {"rules", rules_command},
    {"cut", cut_command},
    {"reset", reset_command},
    {"refuse", refuse_command},
    {"accept", accept_command},
    {"blackhole", hole_command},
    {"pass", pass_command},
    {"rate", rate_command},
    {"counts", counts_command},
    {"connections", connections_command},
    {"quit", quit_command},
};

/* The answer of a command that fails has "error"; what it said before that stays in the line. */
static void line_run(char *line)
{
    struct words words = {0};
    for (char *word = strtok(line, " \t\r"); word; word = strtok(NULL, " \t\r")) {
        if (words.count < WORD_MAX)
            words.word[words.count++] = word;
        else
            complain(&words, "more than %d words", WORD_MAX);
    }
    if (!words.count) return;
    const char *name = word_take(&words, "a command");
    printf("{\"command\":");
    say_text(name);
    size_t i = 0;
    while (i < sizeof commands / sizeof *commands && strcmp(commands[i].name, name) != 0) i++;
    if (i == sizeof commands / sizeof *commands) complain(&words, "there is no command \"%s\"", name);
    if (!words.complaint[0]) commands[i].run(&words);
    if (words.next < words.count) complain(&words, "unknown word \"%s\"", words.word[words.next]);
    if (words.complaint[0]) say_pair("error", words.complaint);
    say_end();
}

bool control_read(void)
{
    static char line[LINE_BYTES];
    static size_t size;
    const ssize_t got = read(STDIN_FILENO, line + size, sizeof line - size - 1);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (got <= 0) return false;
    size += (size_t)got;
    line[size] = '\0';
    char *at = line;
    for (char *end; (end = strchr(at, '\n')) && !has_quit; at = end + 1) {
        *end = '\0';
        line_run(at);
    }
    size -= (size_t)(at - line);
    memmove(line, at, size);
    if (size == sizeof line - 1) die("a command of more than %d bytes", LINE_BYTES - 2);
    return !has_quit;
}
