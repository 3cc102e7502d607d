/**
 * proxy: stands between Kafka clients and brokers and makes the faults of a network: slow, cut, deaf, late. It knows
 * where a request begins and ends and what it is (frame.c), so that a fault can meet one kind of request of one client.
 * One thread; one connection of a client and the one to its broker are a link. README.md has the commands.
 */
#ifndef PROXY_H
#define PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODE_MAX  9
#define API_MAX   128
#define ANY       (-1)
#define TEXT_MAX  128
#define FOREVER_S 1e18

/** Which way frames go; also the end of a link that they go to. */
enum side { TO_BROKER, TO_CLIENT };

/** What is known of a request, and so of its answer. */
struct about {
    int16_t api, version;
    int32_t correlation;
    char client[TEXT_MAX], id[TEXT_MAX]; /* id: the transactional or group id; "" where the request has none */
    int64_t producer;                    /* EndTxn only */
    int16_t epoch;
    bool is_commit;
};

/** One request or answer with its length prefix; or, with no bytes, the place where the connection is closed. */
struct frame {
    struct frame *next;
    struct about about;
    double due_s;   /* not before */
    unsigned rule;  /* which holds it; 0: none */
    double until_s; /* how long, if nobody releases it */
    size_t size, sent;
    bool is_end, is_reset;
    unsigned char bytes[];
};

/** One direction of a link. */
struct way {
    struct frame *first, **last;
    size_t queued_bytes;
    double due_s;      /* of the last frame: none overtakes another */
    unsigned char *in; /* the beginning of a frame that is not whole yet */
    size_t in_size, in_cap;
};

struct end {
    struct link *link; /* NULL: a listener, or the control channel */
    enum side side;
    int fd, node;
    uint32_t interest;
};

struct link {
    struct link *next;
    unsigned number;
    int node; /* from 0 */
    bool is_connecting, is_dead;
    bool had_hold; /* then the answers of what comes late are waited for */
    bool is_deaf;  /* nothing is read from the client any more: it is about to be cut */
    double late_until_s;
    struct end end[2];     /* fd -1: closed */
    struct way way[2];     /* way[side] leads to end[side] */
    struct about *pending; /* requests without an answer, in the order in which they came */
    size_t pending_count, pending_cap;
    char client[TEXT_MAX];
};

struct node {
    struct end listener; /* fd -1: connections are refused */
    int guard;           /* keeps the port while nobody listens */
    uint16_t port, target;
    bool is_refusing;
    bool is_hole[2];
    double rate;      /* bytes/s in each direction; 0: unlimited */
    double free_s[2]; /* when the next byte may go */
};

enum action { DELAY, HOLD, DROP, WATCH };
enum ending { SILENT, CUT, RESET };

struct rule {
    struct rule *next;
    unsigned number;
    enum action action;
    enum side side;
    enum ending ending;
    int api, node;                       /* ANY */
    char client[TEXT_MAX], id[TEXT_MAX]; /* parts of the text; "": any */
    double delay_s, hold_s;
    uint64_t skip, every, times; /* of what matches: pass the first ones, then take each N-th, so many times */
    double probability;
    uint64_t seed;
    uint64_t matched, fired;
};

struct verdict {
    double delay_s;
    const struct rule *rule; /* that holds or drops it, or NULL */
};

/* frame.c */

/** Reads the head of a request (its length prefix left out). False: this is no Kafka request. */
bool about_read(const unsigned char *bytes, size_t size, struct about *about_out);
/** The error code of an answer (prefix left out) where its place is known, else ANY. */
int answer_error(const struct about *about, const unsigned char *bytes, size_t size);
/** Name of an api key, or NULL. */
const char *api_name(int api);
/** Api key by name, number or "any"; -2: there is none. */
int api_find(const char *word);

/* rule.c */

/** A copy is added; its number. */
unsigned rule_add(const struct rule *rule);
/** Rules are consulted in the order of their numbers: delays add up, the first that holds or drops decides. Tells what
 * is watched. */
struct verdict rules_ask(enum side side, const struct link *link, const struct about *about);
/** Forgets one rule (0: all); false when there is none. What it holds stays held. */
bool rule_clear(unsigned number);
/** Calls back for each rule. */
void rules_each(void (*take)(const struct rule *rule));

/* link.c */

extern struct node nodes[NODE_MAX];
extern int node_count;
extern struct link *links;
extern int poller;
extern uint64_t requests[API_MAX], answers[API_MAX], connects;

/** Ports of that many nodes, nobody listens yet. Ends the program on failure. */
void nodes_open(int count);
/** Listens, or refuses, as the node's settings say. */
void node_listen(int node);
/** Takes the next connection that waits at a node; false: none does. */
bool link_accept(int node);
/** The connection to the broker stands, or does not. */
void link_connected(struct link *link);
/** Something can be read from that end. */
void link_read(struct link *link, enum side side, double now_s);
/** Sends what may go; frees what has ended. When there is something to do again. */
double links_advance(double now_s);
/** Closes the client's end of every link of a node (ANY: all) and client (part of its id); what was received still goes
 * to the broker. How many. */
unsigned links_cut(int node, const char *client, bool is_reset);
/** Lets go what a rule (0: any) holds. How many frames. */
unsigned links_release(unsigned rule);

/* control.c */

/** Carries out the commands that have arrived; false at the end of input, or after "quit". */
bool control_read(void);
/** {"event":"ready","ports":[...]} */
void event_ready(void);
/** An event about a frame: {"event":NAME,...}. */
void event_frame(const char *name, unsigned rule, enum side side, const struct link *link, const struct about *about,
                 int error);
/** An event about a link. */
void event_link(const char *name, const struct link *link);
/** Ends the program after a message. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void *must(void *memory);

#endif
