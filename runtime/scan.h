/*
 * scan.h - scanning kernels: the few loops over bytes that are faster in C than in compiled Lua.
 *
 * They find, index and validate; what the bytes mean is decided by a codec in Lua. Each kernel has a scalar form that the
 * vector form is tested against.
 */
#ifndef MR_SCAN_H
#define MR_SCAN_H

/* Field names that codecs ask for by number; index into mr_head.first, and bit in .seen and .repeated. */
typedef enum mr_field_id {
  MR_FIELD_OTHER = 0,
  MR_FIELD_HOST,
  MR_FIELD_CONNECTION,
  MR_FIELD_CONTENT_LENGTH,
  MR_FIELD_TRANSFER_ENCODING,
  MR_FIELD_EXPECT,
  MR_FIELD_UPGRADE,
  MR_FIELD_COUNT
} mr_field_id;

enum { MR_HEAD_FIELDS_MAX = 100 };

/* One header field; offsets count from the start of the head. */
typedef struct mr_field {
  int32_t name;
  int32_t name_length;
  int32_t value; /* without the white space around it */
  int32_t value_length;
  int32_t id; /* mr_field_id */
} mr_field;

/*
 * The index of a text head: a first line of three parts and header fields (RFC 9112 sections 2.1, 3, 5).
 * Set scanned to 0 (mr_head_reset) before the first scan of a head; afterwards it lets a scan go on where the last complete line
 * ended, so that a head which trickles in is not scanned from its start again.
 */
typedef struct mr_head {
  const uint8_t *data; /* where the last scan saw the head; borrowed, valid while the caller's bytes are */
  int32_t scanned;
  int32_t field_count;
  uint32_t seen;     /* bit id: the field occurred */
  uint32_t repeated; /* bit id: it occurred more than once */
  int32_t part[3];   /* first line: method, target, version; or version, status, reason (which may hold spaces) */
  int32_t part_length[3];
  int32_t first[MR_FIELD_COUNT]; /* index in fields of the first occurrence, valid where seen */
  mr_field fields[MR_HEAD_FIELDS_MAX];
} mr_head;

enum {
  MR_SCAN_MORE = 0, /* the head is not complete yet */
  /* Failures; head->scanned is the offset of the line at fault. */
  MR_SCAN_BAD_LINE = -1,  /* first line malformed, or a CR without LF or LF without CR */
  MR_SCAN_BAD_NAME = -2,  /* not a token, empty, white space before the colon, or a folded line */
  MR_SCAN_BAD_VALUE = -3, /* a control character in a value */
  MR_SCAN_TOO_MANY = -4   /* more than MR_HEAD_FIELDS_MAX fields */
};

/* Classes of characters, to be combined with |; what mr_scan_span accepts. */
typedef enum mr_class {
  MR_CLASS_TOKEN = 1,   /* tchar, RFC 9110 section 5.6.2 */
  MR_CLASS_VISIBLE = 2, /* VCHAR and obs-text */
  MR_CLASS_VALUE = 4,   /* the same, SP and HTAB: what a field value may hold */
  MR_CLASS_HOST = 8     /* uri-host [ ":" port ], RFC 3986 section 3.2.2 */
} mr_class;

/* Prepares *head for a new head. */
MR_API void mr_head_reset(mr_head *head);

/*
 * Indexes the head that starts at data[0], of which `length` bytes are there. Result: the head's length in bytes with its empty
 * line, or MR_SCAN_*. Lines end in CR LF, bare CR and bare LF are refused. Call it again with the same head and more bytes (at
 * any address) after MR_SCAN_MORE.
 */
MR_API int32_t mr_scan_head(const uint8_t *data, int32_t length, mr_head *head);

/* The same, byte by byte: the form that mr_scan_head is tested against. */
MR_API int32_t mr_scan_head_scalar(const uint8_t *data, int32_t length, mr_head *head);

/*
 * Index of the first field from number `from` on whose name is name[0..length) but for case, or -1. The bytes of the head must
 * still be where the last scan saw them.
 */
MR_API int32_t mr_head_find(const mr_head *head, const uint8_t *name, int32_t length, int32_t from);

/* How many of the first bytes of data[0..length) belong to one of the classes; equal to length when all do. */
MR_API int32_t mr_scan_span(const uint8_t *data, int32_t length, uint32_t classes);

/* The number that data[0..length) spells in decimal digits only, or -1: empty, another character, or above 2^53 - 1. */
MR_API double mr_scan_decimal(const uint8_t *data, int32_t length);

/* Offset of the first of `length` bytes that equals `byte`, or -1. */
MR_API int32_t mr_scan_byte(const uint8_t *data, int32_t length, uint8_t byte);

/* 1 when both spans hold the same bytes but for the case of ASCII letters, else 0. */
MR_API int mr_scan_equal_fold(const uint8_t *left, int32_t left_length, const uint8_t *right, int32_t right_length);

#endif
