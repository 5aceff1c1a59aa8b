/*
 * option.c - the options of sockets, by one table.
 *
 * Listeners, connections before they connect, and those that are open share the names; what an option needs (a state, a
 * protocol) the kernel knows best, and its refusal is handed on. Accepted connections inherit their listener's.
 */
#include "socket/socket_internal.h"

#include <errno.h>
#include <netinet/tcp.h>

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62 /* 5.0 */
#endif

static const struct {
  int level, name;
} table[MR_OPTION_COUNT] = {
    [MR_OPTION_NODELAY] = {IPPROTO_TCP, TCP_NODELAY},
    [MR_OPTION_KEEPALIVE] = {SOL_SOCKET, SO_KEEPALIVE},
    [MR_OPTION_KEEPALIVE_IDLE] = {IPPROTO_TCP, TCP_KEEPIDLE},
    [MR_OPTION_KEEPALIVE_INTERVAL] = {IPPROTO_TCP, TCP_KEEPINTVL},
    [MR_OPTION_KEEPALIVE_COUNT] = {IPPROTO_TCP, TCP_KEEPCNT},
    [MR_OPTION_LINGER] = {SOL_SOCKET, SO_LINGER},
    [MR_OPTION_SEND_BUFFER] = {SOL_SOCKET, SO_SNDBUF},
    [MR_OPTION_RECEIVE_BUFFER] = {SOL_SOCKET, SO_RCVBUF},
    [MR_OPTION_REUSE_ADDRESS] = {SOL_SOCKET, SO_REUSEADDR},
    [MR_OPTION_REUSE_PORT] = {SOL_SOCKET, SO_REUSEPORT},
    [MR_OPTION_FAST_OPEN] = {IPPROTO_TCP, TCP_FASTOPEN},
    [MR_OPTION_DEFER_ACCEPT] = {IPPROTO_TCP, TCP_DEFER_ACCEPT},
    [MR_OPTION_IPV6_ONLY] = {IPPROTO_IPV6, IPV6_V6ONLY},
    [MR_OPTION_USER_TIMEOUT] = {IPPROTO_TCP, TCP_USER_TIMEOUT},
    [MR_OPTION_DEVICE] = {SOL_SOCKET, SO_BINDTOIFINDEX},
};

static int name_in(int option, int connects) {
  return option == MR_OPTION_FAST_OPEN && connects ? TCP_FASTOPEN_CONNECT : table[option].name;
}

int mr_option_set(int fd, int option, int32_t value, int connects) {
  if (option < 0 || option >= MR_OPTION_COUNT)
    return -EINVAL;
  const struct linger linger = {.l_onoff = value >= 0, .l_linger = value};
  const void *data = option == MR_OPTION_LINGER ? (const void *)&linger : &value;
  socklen_t length = option == MR_OPTION_LINGER ? sizeof linger : sizeof value;
  return setsockopt(fd, table[option].level, name_in(option, connects), data, length) ? -errno : 0;
}

int mr_option_get(int fd, int option, int32_t *value, int connects) {
  struct linger linger;
  if (option < 0 || option >= MR_OPTION_COUNT)
    return -EINVAL;
  void *data = option == MR_OPTION_LINGER ? (void *)&linger : value;
  socklen_t length = option == MR_OPTION_LINGER ? sizeof linger : sizeof *value;
  if (getsockopt(fd, table[option].level, name_in(option, connects), data, &length))
    return -errno;
  if (option == MR_OPTION_LINGER)
    *value = linger.l_onoff ? linger.l_linger : -1;
  return 0;
}

int mr_options_set(int fd, mr_option *options, int count, int connects) {
  for (int i = 0; i < count; i++) {
    options[i].error = mr_option_set(fd, options[i].name, options[i].value, connects);
    if (options[i].error)
      return options[i].error;
  }
  return 0;
}
