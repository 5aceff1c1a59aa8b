/*
 * address.c - socket addresses as Lua sees them, and as the kernel does.
 */
#include "socket/socket_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(MR_ADDRESS_PATH_BYTES == sizeof(((struct sockaddr_un *)0)->sun_path),
               "paths are as long as the kernel's");

int mr_address_parse(const char *text, int32_t port, mr_address *out) {
  *out = (mr_address){.port = port};
  if (port < 0 || port > 65535)
    return -EINVAL;
  if (inet_pton(AF_INET, text, out->bytes) == 1) {
    out->family = AF_INET;
    return 0;
  }
  char copy[MR_ADDRESS_TEXT_BYTES];
  if (strlen(text) >= sizeof copy)
    return -EINVAL;
  strcpy(copy, text);
  char *zone = strchr(copy, '%');
  if (zone) {
    *zone++ = '\0';
    out->scope = if_nametoindex(zone);
    char *end = zone;
    if (!out->scope)
      out->scope = (uint32_t)strtoul(zone, &end, 10);
    if (!out->scope || (end != zone && *end))
      return -EINVAL;
  }
  if (inet_pton(AF_INET6, copy, out->bytes) != 1)
    return -EINVAL;
  out->family = AF_INET6;
  return 0;
}

int mr_address_of_path(const char *path, uint32_t length, mr_address *out) {
  *out = (mr_address){.family = AF_UNIX, .length = (int32_t)length};
  if (length == 0 || (path[0] && memchr(path, '\0', length)))
    return -EINVAL;
  /* The kernel would take 108 bytes of a path without its NUL, but getsockname and other programs would not. */
  if (length > MR_ADDRESS_PATH_BYTES - (path[0] != '\0'))
    return -ENAMETOOLONG;
  memcpy(out->bytes, path, length);
  return 0;
}

int mr_address_format(const mr_address *address, char *text) {
  if (address->family == AF_UNIX || !inet_ntop(address->family, address->bytes, text, MR_ADDRESS_TEXT_BYTES))
    return -EINVAL;
  if (address->family == AF_INET6 && address->scope) {
    char zone[IF_NAMESIZE];
    size_t length = strlen(text);
    if (if_indextoname(address->scope, zone))
      snprintf(text + length, MR_ADDRESS_TEXT_BYTES - length, "%%%s", zone);
    else
      snprintf(text + length, MR_ADDRESS_TEXT_BYTES - length, "%%%u", address->scope);
  }
  return 0;
}

static size_t bytes_of(const mr_address *address) {
  return address->family == AF_INET ? 4 : address->family == AF_INET6 ? 16 : (size_t)address->length;
}

int mr_address_equal(const mr_address *left, const mr_address *right) {
  return left->family == right->family && left->port == right->port && left->scope == right->scope &&
         left->length == right->length && memcmp(left->bytes, right->bytes, bytes_of(left)) == 0;
}

static uint32_t scope_of_ipv4(const uint8_t *bytes) {
  if (bytes[0] == 127)
    return MR_ADDRESS_LOOPBACK;
  if (bytes[0] == 169 && bytes[1] == 254)
    return MR_ADDRESS_LINK_LOCAL;
  if (bytes[0] == 10 || (bytes[0] == 172 && (bytes[1] & 0xf0) == 16) || (bytes[0] == 192 && bytes[1] == 168))
    return MR_ADDRESS_PRIVATE;
  if ((bytes[0] & 0xf0) == 224)
    return MR_ADDRESS_MULTICAST;
  return memcmp(bytes, "\0\0\0", 4) == 0 ? MR_ADDRESS_UNSPECIFIED : 0;
}

uint32_t mr_address_scope(const mr_address *address) {
  const struct in6_addr *ip = (const struct in6_addr *)address->bytes;
  if (address->family == AF_INET)
    return scope_of_ipv4(address->bytes);
  if (address->family != AF_INET6)
    return 0;
  if (IN6_IS_ADDR_V4MAPPED(ip))
    return scope_of_ipv4(address->bytes + 12);
  if (IN6_IS_ADDR_LOOPBACK(ip))
    return MR_ADDRESS_LOOPBACK;
  if (IN6_IS_ADDR_UNSPECIFIED(ip))
    return MR_ADDRESS_UNSPECIFIED;
  if (IN6_IS_ADDR_LINKLOCAL(ip))
    return MR_ADDRESS_LINK_LOCAL;
  if ((address->bytes[0] & 0xfe) == 0xfc)
    return MR_ADDRESS_PRIVATE;
  return IN6_IS_ADDR_MULTICAST(ip) ? MR_ADDRESS_MULTICAST : 0;
}

socklen_t mr_address_to_socket(const mr_address *address, mr_socket_name *out) {
  memset(out, 0, sizeof *out);
  out->any.sa_family = (sa_family_t)address->family;
  switch (address->family) {
  case AF_INET:
    out->ipv4.sin_port = htons((uint16_t)address->port);
    memcpy(&out->ipv4.sin_addr, address->bytes, sizeof out->ipv4.sin_addr);
    return sizeof out->ipv4;
  case AF_INET6:
    out->ipv6.sin6_port = htons((uint16_t)address->port);
    out->ipv6.sin6_scope_id = address->scope;
    memcpy(&out->ipv6.sin6_addr, address->bytes, sizeof out->ipv6.sin6_addr);
    return sizeof out->ipv6;
  case AF_UNIX:
    if (address->length < 0 || address->length > MR_ADDRESS_PATH_BYTES)
      return 0;
    memcpy(out->local.sun_path, address->bytes, (size_t)address->length);
    /* The length of an abstract name counts; a path ends with its NUL. */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)address->length +
                       (address->length > 0 && address->bytes[0] != '\0'));
  default:
    return 0;
  }
}

int mr_address_from_socket(const mr_socket_name *name, socklen_t length, mr_address *out) {
  *out = (mr_address){.family = name->any.sa_family};
  switch (name->any.sa_family) {
  case AF_INET:
    out->port = ntohs(name->ipv4.sin_port);
    memcpy(out->bytes, &name->ipv4.sin_addr, sizeof name->ipv4.sin_addr);
    return 0;
  case AF_INET6:
    out->port = ntohs(name->ipv6.sin6_port);
    out->scope = name->ipv6.sin6_scope_id;
    memcpy(out->bytes, &name->ipv6.sin6_addr, sizeof name->ipv6.sin6_addr);
    return 0;
  case AF_UNIX: {
    size_t bytes =
        length > offsetof(struct sockaddr_un, sun_path) ? length - offsetof(struct sockaddr_un, sun_path) : 0;
    if (bytes > MR_ADDRESS_PATH_BYTES)
      bytes = MR_ADDRESS_PATH_BYTES;
    if (bytes && name->local.sun_path[0])
      bytes = strnlen(name->local.sun_path, bytes);
    out->length = (int32_t)bytes;
    memcpy(out->bytes, name->local.sun_path, bytes);
    return 0;
  }
  default:
    return -EAFNOSUPPORT;
  }
}

typedef int (*name_getter)(int, struct sockaddr *restrict, socklen_t *restrict);

static int address_of(int fd, name_getter get, mr_address *out) {
  mr_socket_name name;
  socklen_t length = sizeof name;
  return get(fd, &name.any, &length) ? -errno : mr_address_from_socket(&name, length, out);
}

int mr_address_of_socket(int fd, mr_address *out) {
  return address_of(fd, getsockname, out);
}

int mr_address_of_peer(int fd, mr_address *out) {
  return address_of(fd, getpeername, out);
}

uint32_t mr_interface_index(const char *name) {
  return if_nametoindex(name);
}
