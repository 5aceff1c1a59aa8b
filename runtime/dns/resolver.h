/*
 * resolver.h - questions to DNS servers, by c-ares, whose sockets and timeouts are the loop's.
 *
 * A resolver asks one list of servers: over UDP, again after a timeout, the next server when one fails, over TCP when an answer was
 * cut. It knows no hosts file, no search domains and no cache; lua/moonring/dns does. An answer is the message as it came.
 */
#ifndef MR_RESOLVER_H
#define MR_RESOLVER_H

#include "../buffer/buffer.h"
#include "../loop/loop.h"
#include "../socket/address.h"

/* How a question ended. */
typedef enum mr_answer {
  MR_ANSWER_RECORDS,         /* there are records in the answer */
  MR_ANSWER_NO_DATA,         /* the name exists and has none of this type; the message tells for how long */
  MR_ANSWER_NO_NAME,         /* the name does not exist (NXDOMAIN); as before */
  MR_ANSWER_SERVER_FAILURE,  /* every server that answered has failed (SERVFAIL) */
  MR_ANSWER_REFUSED,         /* every server has refused */
  MR_ANSWER_FORMAT_ERROR,    /* a server did not understand the question */
  MR_ANSWER_NOT_IMPLEMENTED, /* a server does not do this kind of question */
  MR_ANSWER_BAD_NAME,        /* the name can't be asked for */
  MR_ANSWER_BAD_RESPONSE,    /* a server's answer makes no sense */
  MR_ANSWER_UNREACHABLE,     /* no server could be reached */
  MR_ANSWER_TIMEOUT,         /* no server has answered in time */
  MR_ANSWER_NO_MEMORY,
  MR_ANSWER_CLOSED /* the resolver was */
} mr_answer;

/* Its name ("NXDOMAIN", "TIMEOUT") and sentence. Static strings. */
MR_API const char *mr_answer_name(int answer);
MR_API const char *mr_answer_text(int answer);

typedef struct mr_resolver_options {
  double timeout;   /* seconds that the first attempt waits for a server; later ones wait longer */
  int32_t attempts; /* rounds over the servers */
  int32_t rotate;   /* 1: begin with another server each time */
} mr_resolver_options;

/*
 * Opens a resolver. servers: numeric addresses with their ports, "192.0.2.1:53,[2001:db8::1]:53"; at least one.
 * Result: its slot; -EINVAL, -ENOMEM.
 */
MR_API int mr_resolver_open(mr_loop *loop, const char *servers, const mr_resolver_options *options);

/* Ends it. Questions that are not answered yet are forgotten, and their numbers free. */
MR_API void mr_resolver_close(mr_loop *loop, int resolver);

/* What stands behind a resolver that its user forgets; see mr_guard. */
MR_API void mr_resolver_guard(mr_loop *loop, int resolver, mr_guard *out);
MR_API void mr_resolver_guard_release(mr_guard *guard);

/*
 * Asks for the records of a type (and class IN) under a name in presentation form. Result: the question's number, or -ENOMEM.
 * When it is answered, MR_EVENT_RESOLVED comes for the resolver, never before the next turn.
 */
MR_API int mr_resolver_ask(mr_loop *loop, int resolver, const char *name, int type);

/* The number of the next question that has been answered, or -EAGAIN; then there will be an event for the next. */
MR_API int mr_resolver_next(mr_loop *loop, int resolver);

/*
 * Ends a question that mr_resolver_next has given: *message lets go of what it held and becomes a cursor over the answer (closed when
 * there is none). Result: mr_answer.
 */
MR_API int mr_resolver_take(mr_loop *loop, int question, mr_buffer *message);

/* Gives a question up that mr_resolver_next has not given. */
MR_API void mr_resolver_abandon(mr_loop *loop, int question);

#endif
