/*
 * bind.h - how a socket listens.
 */
#ifndef MR_BIND_H
#define MR_BIND_H

#include "address.h"

enum {
  MR_LISTEN_UNLINK_STALE = 1,     /* removes a Unix socket's file at which nobody listens */
  MR_LISTEN_TAKE_DESCRIPTORS = 2, /* what it accepts receives descriptors */
};

/* How to listen; zero in a field stands for its default. */
typedef struct mr_listen {
  int32_t backlog; /* default 4096 */
  uint32_t flags;
  uint32_t mode; /* of a Unix socket's file; default: as umask has it */
  int32_t option_count;
  mr_option *options; /* on top of reuse_address, nodelay and both families on "::" */
} mr_listen;

#endif
