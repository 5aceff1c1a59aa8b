// echo_load: the load of the echo comparison.
//
//   echo_load PORT CONNECTIONS SECONDS [BYTES [churn]]
//
// Every connection sends a message to 127.0.0.1:PORT, waits until all of it has come back, checks it and sends the next. With churn
// each message has a connection of its own, which this side closes first.
// Prints one line in the form that compare.lua reads: messages, seconds, p50 and p99 of the round trip, errors (failed
// connections, and those that got no message back at all).
// Plain epoll on purpose: the load shall not share code paths with the servers that it compares.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  MAX_BYTES = 16384, // a message fits any socket buffer, so that a send is never short
  EVENTS = 256,
  SUBSTEPS = 64, // latency classes per power of two: 1.6 % apart
  CLASSES = 40 * SUBSTEPS,
  STALL_MS = 5000, // no progress for so long ends the run as an error
};

struct connection {
  int fd;
  int received; // bytes of the current message that are back
  uint64_t messages;
  uint64_t sent_at_ns;
};

static char message[MAX_BYTES], reply[MAX_BYTES];
static uint64_t latency_counts[CLASSES];

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void fail(const char *what) {
  fprintf(stderr, "echo_load: %s: %s\n", what, strerror(errno));
  exit(1);
}

// Log-linear classes: the power of two, and the SUBSTEPS steps inside it.
static void count_latency(uint64_t ns) {
  if (ns < SUBSTEPS)
    ns = SUBSTEPS;
  int shift = 63 - __builtin_clzll(ns) - 6;
  unsigned class = shift * SUBSTEPS + (ns >> shift) - SUBSTEPS;
  latency_counts[class < CLASSES ? class : CLASSES - 1]++;
}

static double latency_us(double share) {
  uint64_t total = 0, seen = 0;
  for (int i = 0; i < CLASSES; i++)
    total += latency_counts[i];
  for (int i = 0; i < CLASSES; i++) {
    seen += latency_counts[i];
    if (seen > 0 && seen >= share * total)
      return (double)((uint64_t)(i % SUBSTEPS + SUBSTEPS) << (i / SUBSTEPS)) / 1e3;
  }
  return 0;
}

static int port, bytes = 64, churn;

// Closed connections keep their port for a minute: so that those don't run out, they come from many addresses.
static void bind_to_next_address(int fd) {
  static unsigned turn;
  enum { ADDRESSES = 200 };
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + turn++ % ADDRESSES)};
  int on = 1;
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
    fail("bind");
}

static int connect_to_server(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (fd < 0)
    fail("socket");
  if (churn)
    bind_to_next_address(fd);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
    fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static int send_message(struct connection *c) {
  c->received = 0;
  c->sent_at_ns = now_ns();
  return send(c->fd, message, bytes, MSG_NOSIGNAL) == bytes ? 0 : -1;
}

static void open_connection(struct connection *c, int epoll) {
  c->fd = connect_to_server();
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
    fail("epoll_ctl");
}

int main(int count, char **arguments) {
  if (count < 4) {
    fprintf(stderr, "usage: echo_load PORT CONNECTIONS SECONDS [BYTES [churn]]\n");
    return 2;
  }
  int connection_count = atoi(arguments[2]);
  port = atoi(arguments[1]);
  if (count > 4)
    bytes = atoi(arguments[4]);
  churn = count > 5 && strcmp(arguments[5], "churn") == 0;
  if (connection_count < 1 || bytes < 1 || bytes > MAX_BYTES) {
    fprintf(stderr, "echo_load: 1 connection or more, messages of 1 to %d bytes\n", MAX_BYTES);
    return 2;
  }
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  for (int i = 0; i < bytes; i++)
    message[i] = 'a' + i % 26;

  int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct connection *connections = calloc(connection_count, sizeof *connections);
  if (epoll < 0 || !connections)
    fail("start");
  for (int i = 0; i < connection_count; i++)
    open_connection(&connections[i], epoll);

  uint64_t start = now_ns(), end = start + (uint64_t)(atof(arguments[3]) * 1e9), messages = 0, errors = 0;
  int alive = connection_count;
  for (int i = 0; i < connection_count; i++)
    if (send_message(&connections[i]) < 0)
      fail("send");
  while (alive > 0 && now_ns() < end) {
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll, events, EVENTS, STALL_MS);
    if (ready == 0) {
      fprintf(stderr, "echo_load: nothing came back for %d ms\n", STALL_MS);
      errors += alive;
      break;
    }
    for (int i = 0; i < ready; i++) {
      struct connection *c = events[i].data.ptr;
      ssize_t got = recv(c->fd, reply, sizeof reply, MSG_DONTWAIT);
      if (got < 0 && (errno == EAGAIN || errno == EINTR))
        continue;
      int wrong = got <= 0 || c->received + got > bytes || memcmp(reply, message + c->received, got) != 0;
      if (!wrong) {
        c->received += got;
        if (c->received < bytes)
          continue;
        count_latency(now_ns() - c->sent_at_ns);
        messages++;
        c->messages++;
        if (churn) {
          close(c->fd);
          open_connection(c, epoll);
        }
        wrong = send_message(c) < 0;
      }
      if (wrong) {
        errors++;
        alive--;
        close(c->fd);
      }
    }
  }
  double seconds = (now_ns() - start) / 1e9;
  for (int i = 0; i < connection_count; i++)
    errors += connections[i].messages == 0; // a server that starves connections looks fast
  printf("result requests=%llu seconds=%.6f p50_us=%.1f p99_us=%.1f errors=%llu\n", (unsigned long long)messages,
         seconds, latency_us(0.50), latency_us(0.99), (unsigned long long)errors);
  return 0;
}
