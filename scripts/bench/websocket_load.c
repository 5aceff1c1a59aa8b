// websocket_load: many WebSockets that only listen.
//
//   websocket_load PORT CONNECTIONS SECONDS
//
// Opens so many WebSockets to 127.0.0.1:PORT and counts the messages that come on them, whose payload is the server's monotonic
// clock in nanoseconds as 20 digits. Prints one line: connections, messages, p50, p99 and the longest time from the server's clock to
// here, errors.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DIGITS = 20, FRAME_BYTES = 2 + DIGITS, BUFFER_BYTES = 4096, EVENTS = 256, STALL_MS = 10000, ADDRESSES = 200 };

struct connection {
  int fd;
  int open; // the handshake is done
  int kept; // bytes in buffer
  char buffer[BUFFER_BYTES];
};

static uint64_t *delays;
static size_t delay_count, delay_capacity;
static int port, opened, errors;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void fail(const char *what) {
  fprintf(stderr, "websocket_load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void note_delay(uint64_t ns) {
  if (delay_count == delay_capacity) {
    delay_capacity = delay_capacity ? delay_capacity * 2 : 65536;
    delays = realloc(delays, delay_capacity * sizeof *delays);
    if (!delays)
      fail("realloc");
  }
  delays[delay_count++] = ns;
}

static void open_connection(struct connection *c, int epoll, int number) {
  static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number % ADDRESSES)};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0 ||
      connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0)
    fail("connect");
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  if (send(c->fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
    fail("open");
}

static void drop(struct connection *c, int bytes) {
  c->kept -= bytes;
  memmove(c->buffer, c->buffer + bytes, (size_t)c->kept);
}

static void take(struct connection *c) {
  if (!c->open) {
    char *end = memmem(c->buffer, (size_t)c->kept, "\r\n\r\n", 4);
    if (!end)
      return;
    if (strncmp(c->buffer, "HTTP/1.1 101", 12) != 0)
      errors++;
    c->open = 1;
    opened++;
    drop(c, (int)(end + 4 - c->buffer));
  }
  while (c->kept >= FRAME_BYTES) {
    char digits[DIGITS + 1] = {0};
    if ((unsigned char)c->buffer[0] != 0x81 || c->buffer[1] != DIGITS)
      errors++;
    memcpy(digits, c->buffer + 2, DIGITS);
    note_delay(now_ns() - strtoull(digits, NULL, 10));
    drop(c, FRAME_BYTES);
  }
}

static void pump(int epoll, int wait_ms) {
  struct epoll_event events[EVENTS];
  int ready = epoll_wait(epoll, events, EVENTS, wait_ms);
  for (int i = 0; i < ready; i++) {
    struct connection *c = events[i].data.ptr;
    ssize_t got = recv(c->fd, c->buffer + c->kept, (size_t)(BUFFER_BYTES - c->kept), MSG_DONTWAIT);
    if (got > 0) {
      c->kept += (int)got;
      take(c);
    } else if (got == 0 || errno != EAGAIN) {
      errors++;
      epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL);
    }
  }
}

static int compare(const void *left, const void *right) {
  uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return (a > b) - (a < b);
}

static double delay_ms(double share) {
  return delay_count ? (double)delays[(size_t)((double)(delay_count - 1) * share)] / 1e6 : 0;
}

int main(int count, char **arguments) {
  if (count != 4) {
    fprintf(stderr, "usage: websocket_load PORT CONNECTIONS SECONDS\n");
    return 2;
  }
  port = atoi(arguments[1]);
  int wanted = atoi(arguments[2]), epoll = epoll_create1(EPOLL_CLOEXEC);
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  struct connection *connections = calloc((size_t)wanted, sizeof *connections);
  if (epoll < 0 || !connections)
    fail("start");
  for (int i = 0; i < wanted; i++) {
    open_connection(&connections[i], epoll, i);
    if (i % 64 == 0)
      pump(epoll, 0);
  }
  uint64_t stalled = now_ns() + STALL_MS * 1000000ull;
  while (opened < wanted && now_ns() < stalled)
    pump(epoll, 100);
  delay_count = 0;
  printf("opened %d\n", opened);
  fflush(stdout);
  uint64_t end = now_ns() + (uint64_t)(atof(arguments[3]) * 1e9);
  while (now_ns() < end)
    pump(epoll, 10);
  qsort(delays, delay_count, sizeof *delays, compare);
  printf("result connections=%d messages=%zu p50_ms=%.1f p99_ms=%.1f longest_ms=%.1f errors=%d\n", opened, delay_count,
         delay_ms(0.5), delay_ms(0.99), delay_ms(1), errors + wanted - opened);
  return 0;
}
