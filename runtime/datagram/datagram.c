/*
 * datagram.c - datagram sockets: how one begins and ends, what it is told.
 *
 * A slot goes free -> open -> closed -> free; the last step waits until the kernel owes it nothing, because receives and sends
 * write to its memory. An IPv6 socket that takes IPv4 too speaks of its IPv4 peers by mapped addresses; here they
 * are IPv4 addresses in both directions, so that what a datagram came from can be answered and printed.
 */
#include "datagram/datagram_internal.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int option_set(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) ? -errno : 0;
}

/* Options that have to be there before the socket is bound. */
static int options_set(int fd, int family, const mr_datagram_options *options) {
  /* By default Linux gives a socket the groups that any other socket of the machine has joined. Where it can't be helped
   * (some sandboxes), that stays. */
  option_set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
  int error = 0;
  if (family == AF_INET6)
    option_set(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
  if (options->flags & MR_DATAGRAM_REUSE_PORT)
    error = option_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (!error && (options->flags & MR_DATAGRAM_REUSE_ADDRESS))
    error = option_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (!error && family == AF_INET6)
    error = option_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, (options->flags & MR_DATAGRAM_IPV6_ONLY) != 0);
  if (!error && options->receive_buffer)
    error = option_set(fd, SOL_SOCKET, SO_RCVBUF, options->receive_buffer);
  if (!error && options->send_buffer)
    error = option_set(fd, SOL_SOCKET, SO_SNDBUF, options->send_buffer);
  return error;
}

socklen_t mr_datagram_name(int family, const mr_address *address, mr_socket_name *out) {
  socklen_t length = mr_address_to_socket(address, out);
  if (!length || address->family == family)
    return length;
  if (address->family != AF_INET || family != AF_INET6)
    return 0;
  out->ipv6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)address->port)};
  out->ipv6.sin6_addr.s6_addr[10] = out->ipv6.sin6_addr.s6_addr[11] = 0xff;
  memcpy(&out->ipv6.sin6_addr.s6_addr[12], address->bytes, 4);
  return sizeof out->ipv6;
}

/* Makes what stands for an IPv4 address one. */
static void unmap(mr_address *address) {
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* RFC 4291, section 2.5.5.2 */
  if (address->family != AF_INET6 || memcmp(address->bytes, mapped, sizeof mapped) != 0)
    return;
  mr_address ipv4 = {.family = AF_INET, .port = address->port};
  memcpy(ipv4.bytes, &address->bytes[12], 4);
  *address = ipv4;
}

int mr_datagram_address(const mr_socket_name *name, socklen_t length, mr_address *out) {
  int error = mr_address_from_socket(name, length, out);
  if (!error)
    unmap(out);
  return error;
}

typedef int (*name_setter)(int, const struct sockaddr *, socklen_t);

static int name_set(int fd, int family, const mr_address *address, name_setter set) {
  mr_socket_name name;
  socklen_t length = mr_datagram_name(family, address, &name);
  if (!length)
    return -EAFNOSUPPORT;
  return set(fd, &name.any, length) ? -errno : 0;
}

/* A socket, bound and connected as wanted, or negative errno. */
static int socket_open(int family, const mr_address *local, const mr_address *remote,
                       const mr_datagram_options *options) {
  int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -errno;
  int error = options_set(fd, family, options);
  if (!error && local)
    error = name_set(fd, family, local, bind);
  if (!error && remote) /* of a datagram socket: never waits */
    error = name_set(fd, family, remote, connect);
  if (error) {
    close(fd);
    return error;
  }
  return fd;
}

int mr_datagram_open(mr_loop *loop, int family, const mr_address *local, const mr_address *remote,
                     const mr_datagram_options *options) {
  uint32_t max_bytes = options->max_bytes ? options->max_bytes : DATAGRAM_MAX_BYTES;
  uint32_t queue = options->queue ? options->queue : DATAGRAM_QUEUE;
  if (max_bytes > DATAGRAM_MAX_BYTES || (family != AF_INET && family != AF_INET6 && family != AF_UNIX))
    return -EINVAL;
  int ring = mr_datagram_ring_open(loop, max_bytes);
  if (ring < 0)
    return ring;
  int fd = socket_open(family, local, remote, options);
  if (fd < 0)
    return fd;
  mr_datagram *datagram = mr_slots_take(&loop->datagrams->sockets, sizeof *datagram);
  if (!datagram) {
    close(fd);
    return -ENOMEM;
  }
  datagram->fd = fd;
  datagram->family = family;
  datagram->connected = remote != NULL;
  datagram->room_timer = -1;
  datagram->ring = ring;
  datagram->max_bytes = max_bytes;
  datagram->queue_max = queue;
  datagram->queue_low = queue / 4;
  datagram->message.msg_namelen = family == AF_INET    ? sizeof(struct sockaddr_in)
                                  : family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                       : sizeof(struct sockaddr_un);
  int error = local ? mr_bound_file_note(local, 0, &datagram->file) : 0;
  if (error) {
    mr_datagram_close(loop, datagram->slot.number);
    return error;
  }
  return datagram->slot.number;
}

void mr_datagram_settle(mr_loop *loop, mr_datagram *datagram) {
  if (datagram->fd < 0 && !datagram->owed)
    mr_slots_retire(&loop->datagrams->sockets, &datagram->slot);
}

void mr_datagrams_recycle(mr_loop *loop) {
  mr_slots_recycle(&loop->datagrams->sockets);
}

void mr_datagram_close(mr_loop *loop, int slot) {
  mr_datagram *datagram = mr_datagram_at(loop, slot);
  if (datagram->fd < 0)
    return;
  datagram->read_wanted = datagram->write_wanted = 0;
  datagram->owed++; /* until all of this is done */
  mr_datagram_receive_stop(loop, datagram);
  mr_datagram_sends_stop(loop, datagram);
  /* Behind the sends of this turn, which end with their submission. */
  if (mr_uring_close_quietly(loop->ring, datagram->fd, 0))
    close(datagram->fd);
  datagram->fd = -1;
  mr_bound_file_remove(&datagram->file);
  datagram->owed--;
  mr_datagram_settle(loop, datagram);
}

void mr_datagrams_close(mr_loop *loop) {
  for (int32_t slot = 0; slot < loop->datagrams->sockets.count; slot++)
    mr_datagram_close(loop, slot);
}

int mr_datagrams_create(mr_loop *loop) {
  loop->datagrams = calloc(1, sizeof *loop->datagrams);
  return loop->datagrams ? 0 : -ENOMEM;
}

void mr_datagrams_destroy(mr_loop *loop) {
  if (!loop->datagrams)
    return;
  mr_datagram_rings_close(loop);
  mr_slots_destroy(&loop->datagrams->sockets);
  mr_slots_destroy(&loop->datagrams->sends);
  free(loop->datagrams);
}

void mr_datagram_guard(mr_loop *loop, int slot, mr_guard *out) {
  *out = (mr_guard){loop, slot, mr_datagram_at(loop, slot)->slot.generation};
}

void mr_datagram_guard_release(mr_guard *guard) {
  mr_loop *loop = mr_guard_end(guard);
  if (!loop)
    return;
  const mr_datagram *datagram = mr_datagram_at(loop, guard->slot);
  if (datagram->slot.generation != guard->generation || datagram->fd < 0)
    return;
  loop->statistics.forgotten++;
  mr_datagram_close(loop, guard->slot);
}

int mr_datagram_local(mr_loop *loop, int slot, mr_address *out) {
  int error = mr_address_of_socket(mr_datagram_at(loop, slot)->fd, out);
  if (!error)
    unmap(out);
  return error;
}

int mr_datagram_peer(mr_loop *loop, int slot, mr_address *out) {
  int error = mr_address_of_peer(mr_datagram_at(loop, slot)->fd, out);
  if (!error)
    unmap(out);
  return error;
}

int mr_datagram_set(mr_loop *loop, int slot, mr_datagram_option option, int value) {
  const mr_datagram *datagram = mr_datagram_at(loop, slot);
  int fd = datagram->fd, is_ipv6 = datagram->family == AF_INET6;
  if (datagram->family == AF_UNIX)
    return -EOPNOTSUPP;
  switch (option) {
  case MR_DATAGRAM_BROADCAST:
    return option_set(fd, SOL_SOCKET, SO_BROADCAST, value);
  case MR_DATAGRAM_TTL:
    return is_ipv6 ? option_set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, value) : option_set(fd, IPPROTO_IP, IP_TTL, value);
  case MR_DATAGRAM_MULTICAST_TTL:
    return is_ipv6 ? option_set(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, value)
                   : option_set(fd, IPPROTO_IP, IP_MULTICAST_TTL, value);
  case MR_DATAGRAM_MULTICAST_LOOP:
    return is_ipv6 ? option_set(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, value)
                   : option_set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, value);
  case MR_DATAGRAM_MULTICAST_INTERFACE:
    if (is_ipv6)
      return option_set(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, value);
    const struct ip_mreqn by_index = {.imr_ifindex = value};
    return setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &by_index, sizeof by_index) ? -errno : 0;
  }
  return -EINVAL;
}

static int membership(const mr_loop *loop, int slot, const mr_address *group, uint32_t interface, int option) {
  const mr_datagram *datagram = mr_datagram_at(loop, slot);
  struct group_req request = {.gr_interface = interface};
  mr_socket_name name;
  socklen_t length = mr_address_to_socket(group, &name);
  if (!length || datagram->family == AF_UNIX)
    return -EAFNOSUPPORT;
  memcpy(&request.gr_group, &name, length);
  int level = group->family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
  return setsockopt(datagram->fd, level, option, &request, sizeof request) ? -errno : 0;
}

int mr_datagram_join(mr_loop *loop, int slot, const mr_address *group, uint32_t interface) {
  return membership(loop, slot, group, interface, MCAST_JOIN_GROUP);
}

int mr_datagram_leave(mr_loop *loop, int slot, const mr_address *group, uint32_t interface) {
  return membership(loop, slot, group, interface, MCAST_LEAVE_GROUP);
}

void mr_datagram_statistics_get(mr_loop *loop, int slot, mr_datagram_statistics *out) {
  const mr_datagram *datagram = mr_datagram_at(loop, slot);
  *out = datagram->statistics;
  out->queued = datagram->queued;
  out->flying = (uint64_t)datagram->flying;
  uint32_t kernel[SK_MEMINFO_VARS] = {0};
  socklen_t length = sizeof kernel;
  if (getsockopt(datagram->fd, SOL_SOCKET, SO_MEMINFO, kernel, &length) == 0)
    out->dropped = kernel[SK_MEMINFO_DROPS];
}

int mr_address_source(const mr_address *to, mr_address *out) {
  mr_socket_name name;
  mr_address target = *to;
  if (!target.port)
    target.port = 53; /* any will do, but for 0 */
  socklen_t length = mr_datagram_name(to->family, &target, &name);
  if (!length)
    return -EAFNOSUPPORT;
  int fd = socket(to->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -errno;
  int error = connect(fd, &name.any, length) ? -errno : mr_address_of_socket(fd, out);
  close(fd);
  if (!error)
    unmap(out);
  return error;
}
