/*
 * resolver_internal.h - what the loop keeps for resolver.c.
 */
#ifndef MR_RESOLVER_INTERNAL_H
#define MR_RESOLVER_INTERNAL_H

#include "dns/resolver.h"
#include "loop/loop_internal.h"

struct mr_resolvers {
  mr_slots resolvers, watches, questions;
};

int mr_resolvers_create(mr_loop *loop);                              /* Result: 0 or -ENOMEM */
void mr_resolver_complete(mr_loop *loop, const mr_completion *done); /* a socket is ready */
void mr_resolver_expired(mr_loop *loop, int32_t slot);               /* its timer has fired */
void mr_resolvers_recycle(mr_loop *loop);
void mr_resolvers_close(mr_loop *loop);   /* all of them; completions may be owed */
void mr_resolvers_destroy(mr_loop *loop); /* once none is */

#endif
