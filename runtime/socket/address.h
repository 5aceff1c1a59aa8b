/*
 * address.h - socket addresses, and the options of sockets.
 */
#ifndef MR_ADDRESS_H
#define MR_ADDRESS_H

#include "../api.h"

enum {
  MR_ADDRESS_TEXT_BYTES = 64,  /* room for a numeric address with its zone, NUL included */
  MR_ADDRESS_PATH_BYTES = 108, /* the longest name of a Unix socket */
};

/*
 * A socket address. family is AF_INET, AF_INET6 or AF_UNIX. IP: port in host order, IPv4 in the first four bytes. Unix: `length`
 * bytes of a path without a NUL, or of an abstract name, which begins with one; none for a socket without a name.
 */
typedef struct mr_address {
  int32_t family;
  int32_t port;
  uint32_t scope; /* IPv6 zone index */
  int32_t length;
  uint8_t bytes[108];
} mr_address;

/* Reads a numeric IPv4 or IPv6 address (with an optional %zone). Result: 0 or -EINVAL. */
MR_API int mr_address_parse(const char *text, int32_t port, mr_address *out);

/* Makes the address of a Unix socket. Result: 0; -EINVAL for no name, or a path with a NUL in it; -ENAMETOOLONG. */
MR_API int mr_address_of_path(const char *path, uint32_t length, mr_address *out);

/* Writes an IP address without its port, NUL-terminated, into MR_ADDRESS_TEXT_BYTES bytes. Result: 0 or -EINVAL. */
MR_API int mr_address_format(const mr_address *address, char *text);

/* 1 when both are the same address, port and zone included. */
MR_API int mr_address_equal(const mr_address *left, const mr_address *right);

/* What an address is for, as bits: RFC 4291 and RFC 6890; an IPv4 address mapped into IPv6 is what the IPv4 address is. */
enum {
  MR_ADDRESS_UNSPECIFIED = 1,
  MR_ADDRESS_LOOPBACK = 2,
  MR_ADDRESS_LINK_LOCAL = 4,
  MR_ADDRESS_PRIVATE = 8, /* RFC 1918, RFC 4193 */
  MR_ADDRESS_MULTICAST = 16,
};
MR_API uint32_t mr_address_scope(const mr_address *address);

/* The options that sockets have here. Values are whole numbers: 0 or 1, bytes, or the unit that is named. */
typedef enum mr_option_name {
  MR_OPTION_NODELAY,            /* TCP_NODELAY */
  MR_OPTION_KEEPALIVE,          /* SO_KEEPALIVE */
  MR_OPTION_KEEPALIVE_IDLE,     /* TCP_KEEPIDLE, seconds */
  MR_OPTION_KEEPALIVE_INTERVAL, /* TCP_KEEPINTVL, seconds */
  MR_OPTION_KEEPALIVE_COUNT,    /* TCP_KEEPCNT */
  MR_OPTION_LINGER,             /* SO_LINGER, seconds; -1: off; 0: close resets */
  MR_OPTION_SEND_BUFFER,        /* SO_SNDBUF; the kernel doubles it */
  MR_OPTION_RECEIVE_BUFFER,     /* SO_RCVBUF */
  MR_OPTION_REUSE_ADDRESS,      /* SO_REUSEADDR */
  MR_OPTION_REUSE_PORT,         /* SO_REUSEPORT */
  MR_OPTION_FAST_OPEN,    /* listener: TCP_FASTOPEN, the queue's length; before connecting: TCP_FASTOPEN_CONNECT */
  MR_OPTION_DEFER_ACCEPT, /* TCP_DEFER_ACCEPT, seconds */
  MR_OPTION_IPV6_ONLY,    /* IPV6_V6ONLY */
  MR_OPTION_USER_TIMEOUT, /* TCP_USER_TIMEOUT, milliseconds */
  MR_OPTION_DEVICE,       /* SO_BINDTOIFINDEX: index of an interface */
  MR_OPTION_COUNT
} mr_option_name;

typedef struct mr_option {
  int32_t name;
  int32_t value;
  int32_t error; /* set when this one was refused */
} mr_option;

/* Index of a network interface, 0 when there is none of that name. */
MR_API uint32_t mr_interface_index(const char *name);

#endif
