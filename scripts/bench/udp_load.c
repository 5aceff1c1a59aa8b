// udp_load: the load of the datagram comparison.
//
//   udp_load PORT SOCKETS FLYING SECONDS [BYTES]
//
// Each of the connected sockets keeps FLYING datagrams under way to 127.0.0.1:PORT: for each that comes back, whole and
// unchanged, it sends the next. Datagrams get lost; when nothing has come for a while all sockets begin again.
// Prints one line: datagrams that came back, seconds, those that were given up.
// recvmmsg and sendmmsg, so that the load costs less than what it measures.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SOCKETS_MAX = 256, FLYING_MAX = 64, BYTES_MAX = 1400, STALL_MS = 100 };

static char message[BYTES_MAX], replies[FLYING_MAX][BYTES_MAX + 1];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what) {
  fprintf(stderr, "udp_load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int connect_to(int port) {
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
    fail("connect");
  return fd;
}

static void send_datagrams(int fd, int count, int bytes) {
  struct mmsghdr out[FLYING_MAX] = {0};
  struct iovec part = {message, bytes};
  for (int i = 0; i < count; i++)
    out[i].msg_hdr = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
  if (sendmmsg(fd, out, count, 0) < 0 && errno != ECONNREFUSED)
    fail("sendmmsg");
}

// Takes what has come back. Returns how many.
static int receive_datagrams(int fd, int bytes) {
  struct mmsghdr in[FLYING_MAX] = {0};
  struct iovec parts[FLYING_MAX];
  for (int i = 0; i < FLYING_MAX; i++) {
    parts[i] = (struct iovec){replies[i], sizeof replies[i]};
    in[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  int count = recvmmsg(fd, in, FLYING_MAX, MSG_DONTWAIT, NULL);
  for (int i = 0; i < count; i++)
    if ((int)in[i].msg_len != bytes || memcmp(replies[i], message, bytes) != 0) {
      fprintf(stderr, "udp_load: a datagram came back changed\n");
      exit(1);
    }
  return count < 0 ? 0 : count;
}

int main(int count, char **arguments) {
  if (count < 5) {
    fprintf(stderr, "usage: udp_load PORT SOCKETS FLYING SECONDS [BYTES]\n");
    return 2;
  }
  int sockets = atoi(arguments[2]), flying = atoi(arguments[3]), bytes = count > 5 ? atoi(arguments[5]) : 64;
  if (sockets < 1 || sockets > SOCKETS_MAX || flying < 1 || flying > FLYING_MAX || bytes < 1 || bytes > BYTES_MAX) {
    fprintf(stderr, "udp_load: 1 to %d sockets, 1 to %d datagrams each, of 1 to %d bytes\n", SOCKETS_MAX, FLYING_MAX,
            BYTES_MAX);
    return 2;
  }
  for (int i = 0; i < bytes; i++)
    message[i] = 'a' + i % 26;
  struct pollfd polled[SOCKETS_MAX];
  int owed[SOCKETS_MAX] = {0};
  for (int i = 0; i < sockets; i++)
    polled[i] = (struct pollfd){.fd = connect_to(atoi(arguments[1])), .events = POLLIN};
  uint64_t returned = 0, lost = 0;
  double start = now(), end = start + atof(arguments[4]);
  while (now() < end) {
    int ready = poll(polled, sockets, STALL_MS);
    for (int i = 0; i < sockets; i++) {
      if (!ready) { // at the beginning, and when the rest was lost
        lost += owed[i];
        owed[i] = 0;
      } else if (polled[i].revents) {
        int came = receive_datagrams(polled[i].fd, bytes);
        returned += came;
        owed[i] = owed[i] > came ? owed[i] - came : 0;
      }
      if (owed[i] < flying && (!ready || polled[i].revents)) {
        send_datagrams(polled[i].fd, flying - owed[i], bytes);
        owed[i] = flying;
      }
    }
  }
  printf("result datagrams=%llu seconds=%.6f lost=%llu\n", (unsigned long long)returned, now() - start,
         (unsigned long long)lost);
  return 0;
}
