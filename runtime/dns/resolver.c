/*
 * resolver.c - c-ares on the ring.
 *
 * c-ares keeps sockets of its own and says what it waits for on each; a watch stands for one, with a poll operation in the ring.
 * What it waits for in time is one timer of the loop. Neither lends the kernel memory, so a resolver can end at any moment; a watch
 * alone stays until its poll has ended.
 *
 * c-ares calls back whenever it likes, also from within a question or the end of its channel. The callback only notes the answer
 * in the resolver's list, and the list is told of in the next turn: by the completion that is being dealt with, or by a timer of no
 * delay. Lua never runs inside c-ares.
 *
 * A channel is given everything that it would read from files, so that it reads none.
 *
 * c-ares goes on to the next server after SERVFAIL, REFUSED and NOTIMP, and when all have failed it has forgotten why. A
 * question that ends so is asked once more on a second channel, which takes what the first server says.
 */
#include "dns/resolver_internal.h"
#include "memory/iovec_internal.h"

#include <ares.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
  EDNS_BYTES = 1232, /* of an answer over UDP: fits every path (DNS flag day 2020) */
  CLASS_IN = 1,
};
static const int64_t rearm_delay_ns = 1000000;

typedef struct watch {
  mr_slot slot;
  struct lane *lane;
  int fd;                 /* -1: c-ares has closed it */
  uint32_t wanted, armed; /* events of poll(2) */
  struct watch *next;
} watch;

typedef enum question_state {
  QUESTION_FREE,
  QUESTION_ASKED,
  QUESTION_ABANDONED,
  QUESTION_ANSWERED,
} question_state;

typedef struct question {
  mr_slot slot;
  mr_loop *loop;
  struct resolver *resolver;
  question_state state;
  int type;
  int is_repeated; /* to hear the reason of a failure */
  mr_answer answer;
  mr_iovec message;
  struct question *next;
  char *name;
} question;

enum { LANE_MAIN, LANE_REASONS, LANES };

/* A channel with its sockets. */
typedef struct lane {
  struct resolver *resolver;
  ares_channel channel; /* NULL: not open */
  watch *watches;
} lane;

typedef struct resolver {
  mr_slot slot;
  mr_loop *loop;
  int is_open;
  lane lanes[LANES];
  char *servers;
  mr_resolver_options options;
  question *first, *last; /* answered and not yet given to Lua */
  int told;               /* of these */
  int timer;              /* -1: none */
} resolver;

static resolver *resolver_at(const mr_loop *loop, int32_t slot) {
  return mr_slots_at(&loop->resolvers->resolvers, slot, sizeof(resolver));
}

static const struct {
  const char *name, *text;
} answers[] = {
    [MR_ANSWER_RECORDS] = {"NOERROR", "the name has such records"},
    [MR_ANSWER_NO_DATA] = {"NODATA", "the name has no records of this type"},
    [MR_ANSWER_NO_NAME] = {"NXDOMAIN", "there is no such name"},
    [MR_ANSWER_SERVER_FAILURE] = {"SERVFAIL", "the server could not find out"},
    [MR_ANSWER_REFUSED] = {"REFUSED", "the server refuses to answer"},
    [MR_ANSWER_FORMAT_ERROR] = {"FORMERR", "the server did not understand the question"},
    [MR_ANSWER_NOT_IMPLEMENTED] = {"NOTIMP", "the server does not answer questions of this kind"},
    [MR_ANSWER_BAD_NAME] = {"BADNAME", "this can't be the name of anything"},
    [MR_ANSWER_BAD_RESPONSE] = {"BADRESPONSE", "the server's answer makes no sense"},
    [MR_ANSWER_UNREACHABLE] = {"UNREACHABLE", "no server could be reached"},
    [MR_ANSWER_TIMEOUT] = {"TIMEOUT", "no server has answered in time"},
    [MR_ANSWER_NO_MEMORY] = {"ENOMEM", "there is no memory for the answer"},
    [MR_ANSWER_CLOSED] = {"CLOSED", "the resolver has been closed"},
};

static int is_answer(int answer) {
  return answer >= 0 && answer <= MR_ANSWER_CLOSED;
}

const char *mr_answer_name(int answer) {
  return is_answer(answer) ? answers[answer].name : "UNKNOWN";
}

const char *mr_answer_text(int answer) {
  return is_answer(answer) ? answers[answer].text : "unknown answer";
}

static mr_answer answer_of(int status) {
  switch (status) {
  case ARES_SUCCESS:
    return MR_ANSWER_RECORDS;
  case ARES_ENODATA:
    return MR_ANSWER_NO_DATA;
  case ARES_ENOTFOUND:
    return MR_ANSWER_NO_NAME;
  case ARES_ESERVFAIL:
    return MR_ANSWER_SERVER_FAILURE;
  case ARES_EREFUSED:
    return MR_ANSWER_REFUSED;
  case ARES_EFORMERR:
    return MR_ANSWER_FORMAT_ERROR;
  case ARES_ENOTIMP:
    return MR_ANSWER_NOT_IMPLEMENTED;
  case ARES_EBADNAME:
  case ARES_EBADQUERY:
  case ARES_EBADSTR:
    return MR_ANSWER_BAD_NAME;
  case ARES_ECONNREFUSED:
    return MR_ANSWER_UNREACHABLE;
  case ARES_ETIMEOUT:
    return MR_ANSWER_TIMEOUT;
  case ARES_ENOMEM:
    return MR_ANSWER_NO_MEMORY;
  case ARES_EDESTRUCTION:
  case ARES_ECANCELLED:
    return MR_ANSWER_CLOSED;
  default:
    return MR_ANSWER_BAD_RESPONSE;
  }
}

/* Watches -----------------------------------------------------------------------------------------------------------*/

static uint64_t watch_user_data(const watch *each) {
  return user_data_of(OPERATION_RESOLVER, &each->slot);
}

/* Result: 0, also when there is nothing to arm; -EAGAIN without room in the submission queue. */
static int watch_arm(mr_loop *loop, watch *each) {
  if (each->armed || !each->wanted)
    return 0;
  int error = mr_uring_poll(loop->ring, each->fd, each->wanted, watch_user_data(each));
  if (error)
    return error;
  each->armed = each->wanted;
  loop->statistics.operations++;
  return 0;
}

static void watch_end(mr_loop *loop, watch *each) {
  watch **link = &each->lane->watches;
  while (*link != each)
    link = &(*link)->next;
  *link = each->next;
  each->fd = -1;
  if (each->armed)
    mr_uring_cancel_quietly(loop->ring, watch_user_data(each), 0);
  else
    mr_slots_give(&loop->resolvers->watches, &each->slot);
}

/* c-ares tells what it waits for on a socket; for nothing: it is about to close it. */
static void socket_wanted(void *data, ares_socket_t fd, int readable, int writable) {
  lane *self = data;
  mr_loop *loop = self->resolver->loop;
  watch *each = self->watches;
  while (each && each->fd != fd)
    each = each->next;
  if (!readable && !writable) {
    if (each)
      watch_end(loop, each);
    return;
  }
  if (!each) {
    each = mr_slots_take(&loop->resolvers->watches, sizeof *each);
    if (!each)
      return; /* what is asked over this socket runs into its timeout */
    each->lane = self;
    each->fd = fd;
    each->next = self->watches;
    self->watches = each;
  }
  each->wanted = (readable ? POLLIN : 0) | (writable ? POLLOUT : 0);
  if (each->armed && each->armed != each->wanted)
    mr_uring_cancel_quietly(loop->ring, watch_user_data(each), 0); /* its completion arms it anew */
}

/* Time and answers --------------------------------------------------------------------------------------------------*/

static int64_t earlier(int64_t left, int64_t right) {
  if (left < 0)
    return right;
  return right < 0 || left < right ? left : right;
}

/* Result: ns until it has to be looked after again, -1: it waits for nothing. */
static int64_t lane_go_on(mr_loop *loop, lane *self) {
  int64_t delay = -1;
  for (watch *each = self->watches; each; each = each->next)
    if (watch_arm(loop, each))
      delay = rearm_delay_ns;
  struct timeval left;
  if (self->channel && ares_timeout(self->channel, NULL, &left))
    delay = earlier(delay, (int64_t)left.tv_sec * 1000000000 + left.tv_usec * 1000);
  return delay;
}

/* Arms what c-ares waits for now. In a turn, tells Lua of answers; outside of one, a timer brings that about. */
static void go_on(resolver *self, int in_turn) {
  mr_loop *loop = self->loop;
  int64_t delay = -1;
  for (int i = 0; i < LANES; i++)
    delay = earlier(delay, lane_go_on(loop, &self->lanes[i]));
  if (self->first && !self->told) {
    if (in_turn) {
      self->told = 1;
      mr_event_push(loop, MR_EVENT_RESOLVED, self->slot.number, 0);
    } else {
      delay = 0;
    }
  }
  if (self->timer >= 0)
    mr_timers_stop(loop, self->timer);
  self->timer = delay < 0 ? -1 : mr_timers_start(loop, delay, TIMER_RESOLVER, self->slot.number);
}

void mr_resolver_expired(mr_loop *loop, int32_t slot) {
  resolver *self = resolver_at(loop, slot);
  self->timer = -1;
  for (int i = 0; i < LANES; i++)
    if (self->lanes[i].channel)
      ares_process_fd(self->lanes[i].channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  go_on(self, 1);
}

void mr_resolver_complete(mr_loop *loop, const mr_completion *done) {
  watch *each = mr_slots_at(&loop->resolvers->watches, (int32_t)(uint32_t)done->user_data, sizeof *each);
  if (!generation_matches(done->user_data, each->slot.generation)) {
    loop->statistics.stale++;
    return;
  }
  loop->statistics.operations--;
  each->armed = 0;
  if (each->fd < 0) {
    mr_slots_give(&loop->resolvers->watches, &each->slot);
    return;
  }
  const lane *ready = each->lane;
  if (done->result > 0) {
    int events = done->result, failed = events & (POLLERR | POLLHUP);
    int fd = each->fd; /* which may be closed in there, and the watch with it */
    ares_process_fd(ready->channel, failed || (events & POLLIN) ? fd : ARES_SOCKET_BAD,
                    failed || (events & POLLOUT) ? fd : ARES_SOCKET_BAD);
  }
  go_on(ready->resolver, 1);
}

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static void library_start(void) {
  ares_library_init(ARES_LIB_INIT_ALL);
}

/* Opens a channel that has read no file, with all that it would have read there. Result: 0, -EINVAL, -ENOMEM. */
static int lane_open(resolver *of, int number) {
  lane *self = &of->lanes[number];
  if (self->channel)
    return 0;
  struct in_addr nobody = {0}; /* in the place of servers, until they are set with their ports */
  struct ares_options wanted = {
      .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS |
               (number == LANE_REASONS ? ARES_FLAG_NOCHECKRESP : 0),
      .timeout = (int)(of->options.timeout * 1e3),
      .tries = of->options.attempts,
      .ndots = 1,
      .servers = &nobody,
      .nservers = 1,
      .lookups = (char[]){"b"},
      .sock_state_cb = socket_wanted,
      .sock_state_cb_data = self,
      .ednspsz = EDNS_BYTES,
  };
  int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_SERVERS |
             ARES_OPT_DOMAINS | ARES_OPT_SORTLIST | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB | ARES_OPT_EDNSPSZ |
             (of->options.rotate ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE);
  pthread_once(&library_once, library_start);
  self->resolver = of;
  int status = ares_init_options(&self->channel, &wanted, mask);
  if (status == ARES_SUCCESS) {
    status = ares_set_servers_ports_csv(self->channel, of->servers);
    if (status == ARES_SUCCESS)
      return 0;
    ares_destroy(self->channel);
  }
  self->channel = NULL;
  return status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
}

static void question_free(question *each) {
  each->state = QUESTION_FREE;
  free(each->name);
  each->name = NULL;
  mr_iovec_drop(&each->message);
  mr_slots_give(&each->loop->resolvers->questions, &each->slot);
}

static void ask(question *each, int lane_number);

static void answered(void *context, int status, int timeouts, unsigned char *data, int length) {
  (void)timeouts;
  question *each = context;
  if (each->state == QUESTION_ABANDONED || status == ARES_EDESTRUCTION) {
    question_free(each);
    return;
  }
  if (status == ARES_ECONNREFUSED && !each->is_repeated && lane_open(each->resolver, LANE_REASONS) == 0) {
    each->is_repeated = 1;
    ask(each, LANE_REASONS);
    return;
  }
  each->state = QUESTION_ANSWERED;
  each->answer = answer_of(status);
  if (data && length > 0) {
    if (mr_iovec_alloc(each->loop->memory, (uint32_t)length, 0, 1, 0, &each->message) == 1)
      memcpy(each->message.data, data, (size_t)length);
    else
      each->answer = MR_ANSWER_NO_MEMORY;
  }
  resolver *self = each->resolver;
  if (self->last)
    self->last->next = each;
  else
    self->first = each;
  self->last = each;
}

/* What Lua calls ----------------------------------------------------------------------------------------------------*/

int mr_resolver_open(mr_loop *loop, const char *servers, const mr_resolver_options *options) {
  if (!(options->timeout >= 1e-3) || options->timeout > 3600 || options->attempts < 1 || !servers[0])
    return -EINVAL;
  resolver *self = mr_slots_take(&loop->resolvers->resolvers, sizeof *self);
  if (!self)
    return -ENOMEM;
  self->loop = loop;
  self->timer = -1;
  self->options = *options;
  self->servers = strdup(servers);
  int error = self->servers ? lane_open(self, LANE_MAIN) : -ENOMEM;
  if (error) {
    free(self->servers);
    mr_slots_give(&loop->resolvers->resolvers, &self->slot);
    return error;
  }
  self->is_open = 1;
  return self->slot.number;
}

void mr_resolver_close(mr_loop *loop, int slot) {
  resolver *self = resolver_at(loop, slot);
  if (!self->is_open)
    return;
  self->is_open = 0;
  for (int i = 0; i < LANES; i++) {
    if (self->lanes[i].channel)
      ares_destroy(self->lanes[i].channel); /* forgets its questions and ends its watches */
    self->lanes[i].channel = NULL;
  }
  free(self->servers);
  while (self->first) {
    question *each = self->first;
    self->first = each->next;
    question_free(each);
  }
  if (self->timer >= 0)
    mr_timers_stop(loop, self->timer);
  mr_slots_retire(&loop->resolvers->resolvers, &self->slot);
}

void mr_resolvers_recycle(mr_loop *loop) {
  mr_slots_recycle(&loop->resolvers->resolvers);
}

void mr_resolvers_close(mr_loop *loop) {
  for (int32_t slot = 0; slot < loop->resolvers->resolvers.count; slot++)
    mr_resolver_close(loop, slot);
}

int mr_resolvers_create(mr_loop *loop) {
  loop->resolvers = calloc(1, sizeof *loop->resolvers);
  return loop->resolvers ? 0 : -ENOMEM;
}

void mr_resolvers_destroy(mr_loop *loop) {
  if (!loop->resolvers)
    return;
  mr_slots_destroy(&loop->resolvers->resolvers);
  mr_slots_destroy(&loop->resolvers->watches);
  mr_slots_destroy(&loop->resolvers->questions);
  free(loop->resolvers);
}

void mr_resolver_guard(mr_loop *loop, int slot, mr_guard *out) {
  *out = (mr_guard){loop, slot, resolver_at(loop, slot)->slot.generation};
}

void mr_resolver_guard_release(mr_guard *guard) {
  mr_loop *loop = mr_guard_end(guard);
  if (!loop)
    return;
  const resolver *self = resolver_at(loop, guard->slot);
  if (self->slot.generation != guard->generation || !self->is_open)
    return;
  loop->statistics.forgotten++;
  mr_resolver_close(loop, guard->slot);
}

static void ask(question *each, int lane_number) {
  ares_query(each->resolver->lanes[lane_number].channel, each->name, CLASS_IN, each->type, answered, each);
}

int mr_resolver_ask(mr_loop *loop, int slot, const char *name, int type) {
  resolver *self = resolver_at(loop, slot);
  question *each = mr_slots_take(&loop->resolvers->questions, sizeof *each);
  if (!each)
    return -ENOMEM;
  each->loop = loop;
  each->resolver = self;
  each->type = type;
  each->state = QUESTION_ASKED;
  each->name = strdup(name);
  if (!each->name) {
    question_free(each);
    return -ENOMEM;
  }
  ask(each, LANE_MAIN);
  go_on(self, 0);
  return each->slot.number;
}

int mr_resolver_next(mr_loop *loop, int slot) {
  resolver *self = resolver_at(loop, slot);
  while (self->first) {
    question *each = self->first;
    self->first = each->next;
    if (!self->first)
      self->last = NULL;
    if (each->state == QUESTION_ANSWERED)
      return each->slot.number;
    question_free(each);
  }
  self->told = 0;
  return -EAGAIN;
}

int mr_resolver_take(mr_loop *loop, int number, mr_buffer *message) {
  question *each = mr_slots_at(&loop->resolvers->questions, number, sizeof *each);
  mr_answer answer = each->answer;
  mr_buffer_release(message);
  if (each->message.reference && mr_buffer_adopt(message, &each->message))
    answer = MR_ANSWER_NO_MEMORY;
  question_free(each);
  return answer;
}

void mr_resolver_abandon(mr_loop *loop, int number) {
  question *each = mr_slots_at(&loop->resolvers->questions, number, sizeof *each);
  each->state = QUESTION_ABANDONED; /* c-ares can't take a single question back: freed with its answer */
}
