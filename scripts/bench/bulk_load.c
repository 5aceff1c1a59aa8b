// bulk_load: the load of the proxy comparison: both ends of streams that go through a proxy.
//
//   bulk_load PROXY-PORT CONNECTIONS SECONDS UPSTREAM-PORT
//
// Listens on 127.0.0.1:UPSTREAM-PORT and sends without end to whoever connects; connects to 127.0.0.1:PROXY-PORT and takes what comes,
// on as many connections. Prints one line in the form that compare.lua reads, in which a request is a MiB that came through.
// Plain epoll on purpose, as in echo_load.c.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_BYTES = 262144, EVENTS = 64, STALL_MS = 5000, BACKLOG = 1024 };

// What an event belongs to: its kind, and the descriptor.
enum { LISTENER, SOURCE, SINK };

static char block[BLOCK_BYTES];

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void fail(const char *what) {
  fprintf(stderr, "bulk_load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static struct sockaddr_in address_of(const char *port) {
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void watch(int epoll, int fd, uint32_t events, uint64_t kind) {
  struct epoll_event event = {.events = events, .data.u64 = kind << 32 | (uint32_t)fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
    fail("epoll_ctl");
}

static void listen_on(int epoll, const char *port) {
  struct sockaddr_in address = address_of(port);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0)
    fail("listen");
  watch(epoll, fd, EPOLLIN, LISTENER);
}

static void connect_to(int epoll, const char *port) {
  struct sockaddr_in address = address_of(port);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
    fail("connect");
  watch(epoll, fd, EPOLLIN, SINK);
}

int main(int count, char **arguments) {
  if (count != 5) {
    fprintf(stderr, "usage: bulk_load PROXY-PORT CONNECTIONS SECONDS UPSTREAM-PORT\n");
    return 2;
  }
  int epoll = epoll_create1(EPOLL_CLOEXEC), connections = atoi(arguments[2]), ended = 0;
  if (epoll < 0)
    fail("epoll_create1");
  listen_on(epoll, arguments[4]);
  for (int i = 0; i < connections; i++)
    connect_to(epoll, arguments[1]);
  uint64_t start = now_ns(), end = start + (uint64_t)(atof(arguments[3]) * 1e9), received = 0;
  while (ended == 0 && now_ns() < end) {
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll, events, EVENTS, STALL_MS);
    if (ready == 0)
      ended = connections; // nothing has moved for so long
    for (int i = 0; i < ready; i++) {
      int fd = (int)(uint32_t)events[i].data.u64;
      ssize_t moved = 0;
      switch (events[i].data.u64 >> 32) {
      case LISTENER:
        if ((moved = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
          watch(epoll, (int)moved, EPOLLOUT, SOURCE);
        break;
      case SOURCE:
        moved = send(fd, block, sizeof block, MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
      case SINK:
        moved = recv(fd, block, sizeof block, MSG_DONTWAIT);
        if (moved > 0)
          received += moved;
        if (moved == 0)
          ended++;
      }
      if (moved < 0 && errno != EAGAIN && errno != EINTR)
        ended++;
    }
  }
  printf("result requests=%.3f seconds=%.6f errors=%d\n", received / 1048576.0, (now_ns() - start) / 1e9, ended);
  return 0;
}
