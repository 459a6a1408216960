/* A small engine for sparse networks: a ticket is a program of operations on rows.
 *
 * A map lies in memory row by row, all channels of a row together: (height, channels, pitch), the
 * pitch a multiple of 16. One primitive does nearly all the work: a row of a result is
 * act(bias + sum of weight * row), its taps naming the rows. A block makes rows of hidden channels
 * from its sources into a ring of as many rows as the filters are tall, filters them, and sums the
 * filtered rows and further sources into a row of its output, so that hidden maps never leave the
 * cache. Every row is computed alike whichever thread does it: results do not depend on threads.
 */
#include "st_engine.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#include <pthread.h>
#endif

enum { VERSION = 1, HEADER = 32, MAX_LENGTH = 1 << 16, MAX_TABLE = 320, MAX_THREADS = 256 };
enum { ALIGN = 16 }; /* floats that every pitch is a multiple of */
static const char MAGIC[8] = "STMMTKT";
static const int64_t MAX_FLOATS = (int64_t)1 << 33;

enum op_kind { BLOCK = 1, POOL, MUL, MATMUL, LINEAR, SOFTMAX, NORM, RESHAPE, TRANSPOSE, CONSTANT, STUFF };
enum act_kind { NONE, CLIP, HARDSIGMOID, HARDSWISH, SIGMOID, SILU, GELU, LEAKY, TANH };
enum source_mode { DIRECT, NEAREST, BILINEAR, CORNERS };

typedef struct { int32_t kind; float low, high; } act;
typedef struct { /* rows `first` on of its op's list */
  int32_t map, mode, first, count;
  int32_t now; /* the mode for one size: a map that has that size is taken as it is */
} source;
typedef struct { int32_t offset, table; float weight; } tap;
typedef struct { /* rows to be summed: as in the file, and with offsets for one size */
  int32_t rows, count;
  const int32_t *start, *a, *b, *c, *acts; /* what a, b, c are depends on the stage */
  const float *weights, *bias;
  tap *taps;
} stage;
typedef struct { /* how one axis is resized */
  int32_t *low, *high, scale;
  float *share;
} lerp;
typedef struct {
  int32_t kind, out, in[2], phase; /* operations of a phase need nothing of each other */
  /* block */
  int32_t accumulate, direct, in_rule[2], stride[2], pad[2], window[2], n_acts, n_pre, n_post, n_picked;
  const act *acts; /* [0] is the output's */
  source *pre_sources, *post_sources;
  const int32_t *picked; /* channels of resized sources, in the order of their rows */
  stage pre, filter, post;
  /* others */
  int32_t n_numbers, flags[8];
  const float *numbers;
  /* for one size */
  int32_t H, W, OH, OW, P, L, keeps_rows, phase_pitch, row_pitch, slot, pads[2];
  lerp *vertical, *horizontal; /* per source, pre then post */
  int64_t cost; /* about as many multiplications */
} op;
typedef struct { int32_t channels, rule[2], first, written, last, H, W, pitch; int64_t offset; } map; /* first, written, last: phases */
typedef struct { int32_t steps; const int32_t *step; } rule;
typedef struct { float *ring, *filtered, *resized, *wide; } scratch;

#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
enum { LOOKS = 500 };
#else
#define PAUSE()
enum { LOOKS = 5000 };
#endif
typedef struct { /* where threads wait for one another */
  int here, round;
#ifdef _OPENMP
  pthread_mutex_t lock;
  pthread_cond_t open;
#endif
} gate;

struct st_engine {
  uint8_t *data;
  size_t size;
  char *metadata;
  char error[256];
  int32_t channels, height, width, multiple, swap, n_rules, n_maps, n_ops, n_outputs, n_phases;
  const float *mean, *std;
  rule *rules;
  map *maps;
  op *ops;
  const int32_t *outputs;
  /* for one size */
  int planned_height, planned_width, threads;
  float *arena;
  scratch *scratches;
  lerp label_y, label_x;
  int label_height, label_width;
};

static int fail(st_engine *e, const char *format, ...) {
  va_list list;
  va_start(list, format);
  vsnprintf(e->error, sizeof e->error, format, list);
  va_end(list);
  return -1;
}

/* ---- The primitive ---- */

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

INLINE vec spread(float value) { return value - (vec){0}; }
INLINE vec larger(vec a, vec b) {
  ivec m = a > b;
  return (vec)(((ivec)a & m) | ((ivec)b & ~m));
}
INLINE vec smaller(vec a, vec b) {
  ivec m = a < b;
  return (vec)(((ivec)a & m) | ((ivec)b & ~m));
}

#define MAKE(N)                                                                                     \
  INLINE void sum##N(float *out, const float *const *table, const tap *t, int n, int column,        \
                     float bias, int accumulate, const act *f) {                                    \
    vec s[N];                                                                                       \
    UNROLL for (int i = 0; i < N; i++) s[i] = spread(bias);                                         \
    if (accumulate) UNROLL for (int i = 0; i < N; i++) s[i] += *(const vec *)(out + i * LANES);     \
    for (int k = 0; k < n; k++) {                                                                   \
      const float *row = table[t[k].table] + t[k].offset + column;                                  \
      vec w = spread(t[k].weight);                                                                  \
      UNROLL for (int i = 0; i < N; i++) s[i] += w * *(const vec *)(row + i * LANES);               \
    }                                                                                               \
    if (f->kind == CLIP) {                                                                          \
      vec low = spread(f->low), high = spread(f->high);                                             \
      UNROLL for (int i = 0; i < N; i++) s[i] = larger(s[i], low);                                  \
      if (f->high < INFINITY) UNROLL for (int i = 0; i < N; i++) s[i] = smaller(s[i], high);        \
    }                                                                                               \
    UNROLL for (int i = 0; i < N; i++) *(vec *)(out + i * LANES) = s[i];                            \
  }
MAKE(8)
MAKE(4)
MAKE(2)
MAKE(1)

static void activate(float *x, int n, const act *f) {
  switch (f->kind) {
    case HARDSIGMOID: for (int i = 0; i < n; i++) { float v = x[i] * (1 / 6.f) + .5f; x[i] = v < 0 ? 0 : v > 1 ? 1 : v; } break;
    case HARDSWISH: for (int i = 0; i < n; i++) { float v = x[i] + 3; v = v < 0 ? 0 : v > 6 ? 6 : v; x[i] *= v * (1 / 6.f); } break;
    case SIGMOID: for (int i = 0; i < n; i++) x[i] = 1 / (1 + expf(-x[i])); break;
    case SILU: for (int i = 0; i < n; i++) x[i] = x[i] / (1 + expf(-x[i])); break;
    case GELU: for (int i = 0; i < n; i++) x[i] *= .5f * (1 + erff(x[i] * 0.70710678f)); break;
    case LEAKY: for (int i = 0; i < n; i++) x[i] = x[i] > 0 ? x[i] : x[i] * f->low; break;
    case TANH: for (int i = 0; i < n; i++) x[i] = tanhf(x[i]); break;
    default: break;
  }
}

/* All rows of a stage, a strip of columns at a time, so that the strip of every source stays near. */
static void sum_rows(const stage *s, float *out, int64_t pitch, int width, const float *const *table,
                     const act *acts, const act *last, int accumulate) {
  int end = (width + ALIGN - 1) / ALIGN * ALIGN;
  for (int column = 0; column < end;) {
    int left = (end - column) / LANES, step = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    for (int r = 0; r < s->rows; r++) {
      const act *f = last ? last : acts + s->acts[r];
      const tap *t = s->taps + s->start[r];
      int n = s->start[r + 1] - s->start[r];
      float *o = out + r * pitch + column;
      if (step == 8) sum8(o, table, t, n, column, s->bias[r], accumulate, f);
      else if (step == 4) sum4(o, table, t, n, column, s->bias[r], accumulate, f);
      else if (step == 2) sum2(o, table, t, n, column, s->bias[r], accumulate, f);
      else sum1(o, table, t, n, column, s->bias[r], accumulate, f);
      if (f->kind > CLIP) activate(o, step * LANES, f);
    }
    column += step * LANES;
  }
}

/* ---- Resizing, a row at a time ---- */

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLES 1
#endif
#endif
typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));

static int make_lerp(lerp *l, int from, int to, int mode) {
  free(l->low), free(l->high), free(l->share);
  int n = to + ALIGN;
  l->low = calloc(n, 4), l->high = calloc(n, 4), l->share = calloc(n, 4);
  if (!l->low || !l->high || !l->share) return -1;
  l->scale = mode == BILINEAR && to % from == 0 ? to / from : 0;
  float scale = mode == CORNERS ? (to > 1 ? (float)(from - 1) / (to - 1) : 0) : (float)from / to;
  for (int i = 0; i < to; i++) {
    if (mode == NEAREST) {
      int at = (int)floorf(i * scale);
      l->low[i] = l->high[i] = at < from ? at : from - 1;
      continue;
    }
    float x = mode == CORNERS ? i * scale : (i + .5f) * scale - .5f;
    if (x < 0) x = 0;
    int at = (int)x;
    if (at > from - 1) at = from - 1;
    l->low[i] = at;
    l->high[i] = at + 1 < from ? at + 1 : at;
    l->share[i] = x - at;
  }
  return 0;
}

/* One row of one channel; `t` has room for the row it is made of and ALIGN floats on both sides. */
static void resize_row(float *out, const float *low, const float *high, float share, int from, int to,
                       const lerp *l, float *t) {
  t += ALIGN;
  for (int x = 0; x < from; x++) t[x] = low[x] + share * (high[x] - low[x]);
#ifdef SHUFFLES
  if (l->scale == 2 || l->scale == 4 || l->scale == 8) {
    t[-1] = t[0];
    for (int i = 0; i < 8; i++) t[from + i] = t[from - 1];
    if (l->scale == 2) {
      const v8 share2 = {.75f, .25f, .75f, .25f, .75f, .25f, .75f, .25f};
      for (int x = 0; x < to; x += 8) {
        v8 v = *(const v8 *)(t + x / 2 - 1);
        v8 a = __builtin_shufflevector(v, v, 0, 1, 1, 2, 2, 3, 3, 4);
        v8 b = __builtin_shufflevector(v, v, 1, 2, 2, 3, 3, 4, 4, 5);
        *(v8 *)(out + x) = a + share2 * (b - a);
      }
    } else if (l->scale == 4) {
      const v8 share4 = {.625f, .875f, .125f, .375f, .625f, .875f, .125f, .375f};
      for (int x = 0; x < to; x += 8) {
        v8 v = *(const v8 *)(t + x / 4 - 1);
        v8 a = __builtin_shufflevector(v, v, 0, 0, 1, 1, 1, 1, 2, 2);
        v8 b = __builtin_shufflevector(v, v, 1, 1, 2, 2, 2, 2, 3, 3);
        *(v8 *)(out + x) = a + share4 * (b - a);
      }
    } else {
      const v8 share8 = {.5625f, .6875f, .8125f, .9375f, .0625f, .1875f, .3125f, .4375f};
      for (int x = 0; x < to; x += 8) {
        v8 v = *(const v8 *)(t + x / 8 - 1);
        v8 a = __builtin_shufflevector(v, v, 0, 0, 0, 0, 1, 1, 1, 1);
        v8 b = __builtin_shufflevector(v, v, 1, 1, 1, 1, 2, 2, 2, 2);
        *(v8 *)(out + x) = a + share8 * (b - a);
      }
    }
    return;
  }
#endif
  for (int x = 0; x < to; x++) {
    float a = t[l->low[x]];
    out[x] = a + l->share[x] * (t[l->high[x]] - a);
  }
}

/* The rows of a block's sources at line y, and where they lie. `held` tells which line of its map each
 * nearest source was last made of: the next line of a map twice as tall has the same. */
static void find_rows(const st_engine *e, const op *o, const source *sources, int n, const lerp *vertical,
                      const lerp *horizontal, int y, int width, float *resized, float *wide,
                      const float **table, int *held) {
  int pitch = (width + ALIGN - 1) / ALIGN * ALIGN;
  for (int i = 0; i < n; i++) {
    const source *s = sources + i;
    const map *m = e->maps + s->map;
    const float *data = e->arena + m->offset;
    int64_t line = (int64_t)m->channels * m->pitch;
    if (s->now == DIRECT) {
      table[i] = data + y * line;
      continue;
    }
    float *rows = resized + (int64_t)s->first * pitch;
    table[i] = rows;
    if (s->mode == NEAREST) {
      if (held[i] == vertical[i].low[y]) continue;
      held[i] = o->keeps_rows ? vertical[i].low[y] : -1;
    }
    const float *low = data + vertical[i].low[y] * line, *high = data + vertical[i].high[y] * line;
    for (int k = 0; k < s->count; k++) {
      int64_t at = (int64_t)o->picked[s->first + k] * m->pitch;
      float *row = rows + (int64_t)k * pitch;
      if (s->mode == NEAREST && m->W * 2 == width) {
        for (int x = 0; x < m->W; x++) row[2 * x] = row[2 * x + 1] = low[at + x];
      } else if (s->mode == NEAREST) {
        for (int x = 0; x < width; x++) row[x] = low[at + horizontal[i].low[x]];
      } else {
        resize_row(row, low + at, high + at, vertical[i].share[y], m->W, width, horizontal + i, wide);
      }
    }
  }
}

/* ---- The operations ---- */

/* Zeros where a ring has none of its map's values. Lines write between them and leave them alone. */
static void clear_ring(const op *o, scratch *s) {
  int K = o->window[0], step = o->stride[1];
  memset(s->ring + (int64_t)o->slot * K, 0, sizeof(float) * o->slot); /* what stands around a map */
  if (step > 1) {
    memset(s->ring, 0, sizeof(float) * o->slot * K);
    return;
  }
  for (int64_t i = 0; i < (int64_t)K * o->pre.rows; i++) {
    float *row = s->ring + i * o->row_pitch;
    for (int x = 0; x < o->L; x++) row[x] = 0;
    for (int x = o->L + o->W; x < o->row_pitch; x++) row[x] = 0;
  }
}

static void fill_ring(const st_engine *e, const op *o, scratch *s, int line, int *held) {
  const float *table[MAX_TABLE];
  int W = o->W, pitch = (W + ALIGN - 1) / ALIGN * ALIGN;
  float *slot = s->ring + (int64_t)(line % o->window[0]) * o->slot;
  find_rows(e, o, o->pre_sources, o->n_pre, o->vertical, o->horizontal, line, W, s->resized, s->wide, table, held);
  if (o->stride[1] == 1) {
    sum_rows(&o->pre, slot + o->L, o->row_pitch, W, table, o->acts, NULL, 0);
    for (int u = 0; W < pitch && u < o->pre.rows; u++) { /* vectors reach beyond the map */
      float *row = slot + (int64_t)u * o->row_pitch + o->L;
      for (int x = W; x < pitch; x++) row[x] = 0;
    }
    return;
  }
  float *flat = s->wide + pitch + 4 * ALIGN; /* (rows, pitch) */
  sum_rows(&o->pre, flat, pitch, W, table, o->acts, NULL, 0);
  int step = o->stride[1];
  for (int u = 0; u < o->pre.rows; u++) { /* L is a multiple of the stride */
    const float *from = flat + (int64_t)u * pitch;
    float *row = slot + (int64_t)u * o->row_pitch + o->L / step;
    if (step == 2) {
      float *restrict even = row, *restrict odd = row + o->phase_pitch;
      for (int x = 0; x < W / 2; x++) even[x] = from[2 * x], odd[x] = from[2 * x + 1];
      if (W % 2) even[W / 2] = from[W - 1];
    } else {
      for (int x = 0; x < W; x++) row[(x % step) * o->phase_pitch + x / step] = from[x];
    }
  }
}

static void run_block(const st_engine *e, const op *o, scratch *s, int y0, int y1) {
  const map *m = e->maps + o->out;
  float *out = e->arena + m->offset;
  int64_t line = (int64_t)m->channels * m->pitch;
  int K = o->window[0], filtered_pitch = m->pitch;
  const float *rows[MAX_TABLE], *table[MAX_TABLE];
  const act *last = o->acts;
  int next = 0, held[2 * MAX_TABLE];
  for (int i = 0; i < o->n_pre + o->n_post; i++) held[i] = -1;
  if (o->filter.rows) {
    clear_ring(o, s);
    next = y0 * o->stride[0] - o->pads[0];
    if (next < 0) next = 0;
  }
  for (int y = y0; y < y1; y++) {
    if (o->filter.rows) {
      int top = y * o->stride[0] - o->pads[0], end = top + K - 1;
      if (next < top) next = top;
      if (end > o->H - 1) end = o->H - 1;
      for (; next <= end; next++) fill_ring(e, o, s, next, held);
      for (int d = 0; d < K; d++) {
        int at = top + d;
        rows[d] = s->ring + (int64_t)(at < 0 || at >= o->H ? K : at % K) * o->slot;
      }
      if (o->direct) {
        sum_rows(&o->filter, out + y * line, m->pitch, o->OW, rows, o->acts, last, o->accumulate);
        continue;
      }
      sum_rows(&o->filter, s->filtered, filtered_pitch, o->OW, rows, o->acts, NULL, 0);
    }
    table[0] = s->filtered;
    find_rows(e, o, o->post_sources, o->n_post, o->vertical + o->n_pre, o->horizontal + o->n_pre, y, o->OW,
              s->resized, s->wide, table + 1, held + o->n_pre);
    sum_rows(&o->post, out + y * line, m->pitch, o->OW, table, o->acts, last, o->accumulate);
  }
}

static float *row_of(const st_engine *e, int number, int y, int channel) {
  const map *m = e->maps + number;
  return e->arena + m->offset + ((int64_t)y * m->channels + channel) * m->pitch;
}

static void run_pool(const st_engine *e, const op *o, int c0, int c1) {
  /* flags: max, adaptive, window (2), stride (2), pads top and left; numbers[0]: count zeros */
  const map *x = e->maps + o->in[0], *m = e->maps + o->out;
  const int32_t *f = o->flags;
  int count_zeros = o->numbers[0] != 0;
  for (int c = c0; c < c1; c++)
    for (int y = 0; y < m->H; y++)
      for (int p = 0; p < m->W; p++) {
        int64_t top, left, bottom, right, area;
        if (f[1]) {
          top = (int64_t)y * x->H / m->H, bottom = ((int64_t)(y + 1) * x->H + m->H - 1) / m->H;
          left = (int64_t)p * x->W / m->W, right = ((int64_t)(p + 1) * x->W + m->W - 1) / m->W;
        } else {
          top = (int64_t)y * f[4] - f[6], left = (int64_t)p * f[5] - f[7];
          bottom = top + f[2], right = left + f[3];
        }
        int64_t high = x->H + (f[1] ? 0 : f[6]), wide = x->W + (f[1] ? 0 : f[7]);
        area = ((bottom < high ? bottom : high) - top) * ((right < wide ? right : wide) - left);
        if (top < 0) top = 0;
        if (left < 0) left = 0;
        if (bottom > x->H) bottom = x->H;
        if (right > x->W) right = x->W;
        if (!count_zeros) area = (bottom - top) * (right - left);
        float best = -INFINITY;
        double sum = 0;
        for (int64_t yy = top; yy < bottom; yy++) {
          const float *row = row_of(e, o->in[0], (int)yy, c);
          if (f[0]) {
            for (int64_t xx = left; xx < right; xx++) best = row[xx] > best ? row[xx] : best;
          } else {
            float part = 0;
            for (int64_t xx = left; xx < right; xx++) part += row[xx];
            sum += part;
          }
        }
        row_of(e, o->out, y, c)[p] = f[0] ? best : (float)(sum / (area > 0 ? area : 1));
      }
}

static void run_other(const st_engine *e, const op *o, int c0, int c1) {
  const map *m = e->maps + o->out, *x = e->maps + o->in[0];
  for (int c = c0; c < c1; c++)
    for (int y = 0; y < m->H; y++) {
      float *out = row_of(e, o->out, y, c);
      if (o->kind == CONSTANT) {
        if (o->flags[0]) memcpy(out, o->numbers + ((int64_t)c * m->H + y) * m->W, sizeof(float) * m->W);
        else for (int i = 0; i < m->W; i++) out[i] = o->numbers[c];
        continue;
      }
      if (o->kind == TRANSPOSE) {
        for (int i = 0; i < m->W; i++) out[i] = row_of(e, o->in[0], 0, i)[c];
        continue;
      }
      if (o->kind == RESHAPE) {
        for (int i = 0; i < m->W; i++) {
          int64_t at = (int64_t)y * m->W + i;
          out[i] = row_of(e, o->in[0], (int)(at / x->W), c)[at % x->W];
        }
        continue;
      }
      if (o->kind == STUFF) {
        memset(out, 0, sizeof(float) * m->W);
        if (y % o->flags[0] == 0) {
          const float *in = row_of(e, o->in[0], y / o->flags[0], c);
          for (int i = 0; i < x->W; i++) out[i * o->flags[1]] = in[i];
        }
        continue;
      }
      const float *in = row_of(e, o->in[0], y, c);
      if (o->kind == MUL) {
        const map *s = e->maps + o->in[1];
        const float *by = row_of(e, o->in[1], s->H == m->H ? y : 0, c);
        if (s->H == m->H && s->W == m->W) for (int i = 0; i < m->W; i++) out[i] = in[i] * by[i];
        else for (int i = 0; i < m->W; i++) out[i] = in[i] * by[0];
      } else if (o->kind == MATMUL) {
        for (int i = 0; i < m->W; i++) out[i] = 0;
        for (int k = 0; k < x->W; k++) {
          const float *row = row_of(e, o->in[1], 0, k);
          for (int i = 0; i < m->W; i++) out[i] += in[k] * row[i];
        }
      } else if (o->kind == LINEAR) {
        for (int i = 0; i < m->W; i++) {
          const float *w = o->numbers + (int64_t)i * x->W;
          float sum = 0;
          for (int k = 0; k < x->W; k++) sum += w[k] * in[k];
          out[i] = sum + o->numbers[(int64_t)m->W * x->W + i];
        }
      } else if (o->kind == SOFTMAX) {
        float top = -INFINITY, sum = 0;
        for (int i = 0; i < m->W; i++) top = in[i] > top ? in[i] : top;
        for (int i = 0; i < m->W; i++) sum += out[i] = expf(in[i] - top);
        for (int i = 0; i < m->W; i++) out[i] /= sum;
      } else if (o->kind == NORM) {
        double mean = 0, square = 0;
        for (int i = 0; i < m->W; i++) mean += in[i];
        mean /= m->W;
        for (int i = 0; i < m->W; i++) square += (in[i] - mean) * (in[i] - mean);
        double scale = 1 / sqrt(square / m->W + o->numbers[2 * m->W]);
        for (int i = 0; i < m->W; i++)
          out[i] = (float)((in[i] - mean) * scale) * o->numbers[i] + o->numbers[m->W + i];
      }
    }
}

/* Until all threads are here: awake for a moment, since a phase is short and waking takes longer, then
 * asleep, since others may need the core. */
static void wait_for_all(gate *g, int threads) {
#ifdef _OPENMP
  if (threads == 1) return;
  int round = __atomic_load_n(&g->round, __ATOMIC_ACQUIRE);
  if (__atomic_add_fetch(&g->here, 1, __ATOMIC_ACQ_REL) == threads) {
    g->here = 0;
    pthread_mutex_lock(&g->lock);
    __atomic_store_n(&g->round, round + 1, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&g->open);
    pthread_mutex_unlock(&g->lock);
    return;
  }
  for (int i = 0; i < LOOKS; i++) {
    if (__atomic_load_n(&g->round, __ATOMIC_ACQUIRE) != round) return;
    PAUSE();
  }
  pthread_mutex_lock(&g->lock);
  while (g->round == round) pthread_cond_wait(&g->open, &g->lock);
  pthread_mutex_unlock(&g->lock);
#else
  (void)g, (void)threads;
#endif
}

static int share_of(int parts, int64_t stretch, int64_t whole) {
  return stretch <= 0 ? 0 : stretch >= whole ? parts : (int)((parts * stretch + whole / 2) / whole);
}

/* Rows of a block, channels of other operations: what threads share. */
static int parts_of(const st_engine *e, const op *o) {
  return o->kind == BLOCK ? e->maps[o->out].H : e->maps[o->out].channels;
}

/* The operations of a phase lie side by side on a line, as long as they cost. A thread does what lies
 * in its stretch of it, so that no more operations are split than there are threads. */
static void run_phases(st_engine *e, gate *g, int t, int T) {
  for (int i = 0; i < e->n_ops;) {
    int64_t total = 0, at = 0;
    int end = i;
    for (; end < e->n_ops && e->ops[end].phase == e->ops[i].phase; end++) total += e->ops[end].cost;
    int64_t low = total * t / T, high = total * (t + 1) / T;
    for (; i < end; at += e->ops[i++].cost) {
      const op *o = e->ops + i;
      int n = parts_of(e, o), from = share_of(n, low - at, o->cost), to = share_of(n, high - at, o->cost);
      if (from >= to) continue;
      if (o->kind == BLOCK) run_block(e, o, e->scratches + t, from, to);
      else if (o->kind == POOL) run_pool(e, o, from, to);
      else run_other(e, o, from, to);
    }
    wait_for_all(g, T);
  }
}

/* ---- Reading a weights file: nothing is believed that was not checked ---- */

typedef struct { const uint8_t *at; size_t left; int bad; } reader;

static const void *take(reader *r, int64_t count) { /* of numbers of four bytes */
  if (r->bad || count < 0 || (uint64_t)count > r->left / 4) {
    r->bad = 1;
    return NULL;
  }
  const void *at = r->at;
  r->at += 4 * count, r->left -= 4 * count;
  return at;
}
static int32_t number(reader *r) {
  const int32_t *at = take(r, 1);
  return at ? *at : 0;
}
static int32_t number_in(reader *r, int32_t low, int32_t high) {
  int32_t value = number(r);
  if (value < low || value > high) r->bad = 1;
  return r->bad ? low : value;
}
static const int32_t *numbers_in(reader *r, int64_t count, int32_t low, int32_t high) {
  const int32_t *at = take(r, count);
  for (int64_t i = 0; at && i < count; i++)
    if (at[i] < low || at[i] > high) r->bad = 1;
  return at;
}

static uint32_t checksum(const uint8_t *data, size_t size) { /* CRC-32, as zlib's */
  static uint32_t table[256];
  if (!table[255])
    for (uint32_t i = 0; i < 256; i++) {
      uint32_t c = i;
      for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
      table[i] = c;
    }
  uint32_t c = ~0u;
  for (size_t i = 0; i < size; i++) c = table[(c ^ data[i]) & 255] ^ (c >> 8);
  return ~c;
}

static void read_stage(reader *r, stage *s, int32_t acts) {
  s->rows = number_in(r, 0, MAX_LENGTH);
  s->start = numbers_in(r, (int64_t)s->rows + 1, 0, INT32_MAX);
  if (r->bad) return;
  for (int i = 0; i < s->rows; i++)
    if (s->start[i] > s->start[i + 1]) r->bad = 1;
  if (s->start[0]) r->bad = 1;
  s->count = s->start[s->rows];
  s->a = take(r, s->count), s->b = take(r, s->count), s->c = take(r, s->count);
  s->weights = take(r, s->count), s->bias = take(r, s->rows);
  s->acts = numbers_in(r, s->rows, 0, acts - 1);
}

static int channels_of(const st_engine *e, const source *s) {
  return s->mode == DIRECT ? e->maps[s->map].channels : s->count;
}

static source *read_sources(reader *r, st_engine *e, op *o, int32_t count) {
  source *sources = calloc(count + 1, sizeof *sources);
  if (!sources) r->bad = 1;
  for (int i = 0; i < count && !r->bad; i++) {
    sources[i].map = number_in(r, 0, e->n_maps - 1);
    sources[i].mode = number_in(r, DIRECT, CORNERS);
    sources[i].first = number_in(r, 0, o->n_picked);
    sources[i].count = number_in(r, 0, o->n_picked - sources[i].first);
    for (int k = 0; k < sources[i].count && !r->bad; k++)
      if (o->picked[sources[i].first + k] >= e->maps[sources[i].map].channels) r->bad = 1;
  }
  return sources;
}

static void read_block(reader *r, st_engine *e, op *o) {
  o->accumulate = number_in(r, 0, 1), o->direct = number_in(r, 0, 1);
  for (int i = 0; i < 2; i++) {
    o->in_rule[i] = number_in(r, 0, e->n_rules - 1);
    o->stride[i] = number_in(r, 1, 64);
    o->pad[i] = number_in(r, -1, 4096); /* -1: as many as ceil(length / stride) outputs need */
    o->window[i] = number_in(r, 1, i ? 4096 : MAX_TABLE - 2);
  }
  o->n_acts = number_in(r, 1, 4096);
  o->acts = take(r, 3 * (int64_t)o->n_acts);
  for (int i = 0; !r->bad && i < o->n_acts; i++)
    if (o->acts[i].kind < NONE || o->acts[i].kind > TANH) r->bad = 1;
  o->n_picked = number_in(r, 0, 1 << 24);
  o->picked = numbers_in(r, o->n_picked, 0, MAX_LENGTH);
  o->n_pre = number_in(r, 0, MAX_TABLE - 2), o->n_post = number_in(r, 0, MAX_TABLE - 2);
  if (r->bad) return;
  o->pre_sources = read_sources(r, e, o, o->n_pre);
  o->post_sources = read_sources(r, e, o, o->n_post);
  read_stage(r, &o->pre, o->n_acts), read_stage(r, &o->filter, o->n_acts), read_stage(r, &o->post, o->n_acts);
  if (r->bad) return;
  for (int i = 0; i < o->pre.count; i++) { /* source, channel */
    int32_t s = o->pre.a[i];
    if (s < 0 || s >= o->n_pre || o->pre.b[i] < 0 || o->pre.b[i] >= channels_of(e, o->pre_sources + s)) r->bad = 1;
    if (r->bad) return;
  }
  for (int i = 0; i < o->filter.count; i++) /* row, line, column */
    if (o->filter.a[i] < 0 || o->filter.a[i] >= o->pre.rows || o->filter.b[i] < 0 ||
        o->filter.b[i] >= o->window[0] || o->filter.c[i] < 0 || o->filter.c[i] >= o->window[1])
      r->bad = 1;
  for (int i = 0; i < o->post.count; i++) { /* 0 and a filtered row, or 1 + source and a channel */
    int32_t s = o->post.a[i] - 1;
    if (s < -1 || s >= o->n_post || o->post.b[i] < 0 ||
        o->post.b[i] >= (s < 0 ? o->filter.rows : channels_of(e, o->post_sources + s)))
      r->bad = 1;
    if (r->bad) return;
  }
  int32_t made = o->direct ? o->filter.rows : o->post.rows;
  if (made != e->maps[o->out].channels) r->bad = 1;
}

static int read_op(reader *r, st_engine *e, op *o) {
  o->kind = number_in(r, BLOCK, STUFF);
  o->out = number_in(r, 1, e->n_maps - 1);
  o->in[0] = number_in(r, 0, e->n_maps - 1), o->in[1] = number_in(r, 0, e->n_maps - 1);
  if (r->bad) return -1;
  map *out = e->maps + o->out, *x = e->maps + o->in[0];
  if (o->kind == BLOCK) read_block(r, e, o);
  else {
    const int32_t *flags = take(r, 8);
    o->n_numbers = number_in(r, 0, 1 << 28);
    o->numbers = take(r, o->n_numbers);
    if (r->bad) return -1;
    memcpy(o->flags, flags, sizeof o->flags);
    int aligned = o->kind != CONSTANT && o->kind != TRANSPOSE;
    if (aligned && x->channels != out->channels) return -1;
    if (o->kind == MUL && e->maps[o->in[1]].channels != out->channels) return -1;
    if (o->kind == POOL && o->n_numbers < 1) return -1;
    if (o->kind == POOL && !o->flags[1])
      for (int i = 2; i < 8; i++)
        if (o->flags[i] < (i < 6) || o->flags[i] > 4096) return -1;
    if (o->kind == STUFF && (o->flags[0] < 1 || o->flags[1] < 1 || o->flags[0] > 64 || o->flags[1] > 64)) return -1;
  }
  if (r->bad) return -1;
  /* what is read was written before; what is written is new, or added to */
  int read[2 * MAX_TABLE], n = 0;
  if (o->kind == BLOCK) {
    for (int i = 0; i < o->n_pre; i++) read[n++] = o->pre_sources[i].map;
    for (int i = 0; i < o->n_post; i++) read[n++] = o->post_sources[i].map;
  } else if (o->kind != CONSTANT) {
    read[n++] = o->in[0];
    if (o->kind == MUL || o->kind == MATMUL) read[n++] = o->in[1];
  }
  for (int i = 0; i < n; i++) {
    const map *m = e->maps + read[i];
    if (m->first < 0 || read[i] == o->out) return -1;
    if (o->phase <= m->written) o->phase = m->written + 1;
  }
  if ((out->first >= 0) != (o->kind == BLOCK && o->accumulate)) return -1;
  if (out->first < 0) out->first = o->phase;
  else if (o->phase <= out->last) o->phase = out->last + 1; /* others may read what is there so far */
  out->written = o->phase;
  if (out->last < o->phase) out->last = o->phase;
  for (int i = 0; i < n; i++)
    if (e->maps[read[i]].last < o->phase) e->maps[read[i]].last = o->phase;
  if (e->n_phases <= o->phase) e->n_phases = o->phase + 1;
  return 0;
}

/* Bring operations into the order of their phases. */
static int sort_ops(st_engine *e) {
  op *sorted = calloc(e->n_ops + 1, sizeof *sorted);
  int32_t *place = calloc(e->n_phases + 1, sizeof *place);
  if (sorted && place) {
    for (int i = 0; i < e->n_ops; i++) place[e->ops[i].phase + 1]++;
    for (int i = 0; i < e->n_phases; i++) place[i + 1] += place[i];
    for (int i = 0; i < e->n_ops; i++) sorted[place[e->ops[i].phase]++] = e->ops[i];
    op *unsorted = e->ops;
    e->ops = sorted, sorted = unsorted;
  }
  int done = sorted && place;
  free(sorted), free(place);
  return done ? 0 : -1;
}

static int read_payload(st_engine *e, const uint8_t *data, size_t size) {
  reader r = {data, size, 0};
  e->channels = number_in(&r, 1, 4096);
  e->height = number_in(&r, 0, MAX_LENGTH), e->width = number_in(&r, 0, MAX_LENGTH);
  e->multiple = number_in(&r, 1, 4096), e->swap = number_in(&r, 0, 1);
  e->mean = take(&r, e->channels), e->std = take(&r, e->channels);
  e->n_rules = number_in(&r, 1, 1 << 20);
  if (r.bad || !(e->rules = calloc(e->n_rules, sizeof *e->rules))) return -1;
  for (int i = 0; i < e->n_rules && !r.bad; i++) {
    e->rules[i].steps = number_in(&r, 0, 4096);
    e->rules[i].step = take(&r, 3 * (int64_t)e->rules[i].steps);
  }
  e->n_maps = number_in(&r, 1, 1 << 16);
  if (r.bad || !(e->maps = calloc(e->n_maps, sizeof *e->maps))) return -1;
  for (int i = 0; i < e->n_maps; i++) {
    e->maps[i].channels = number_in(&r, 1, MAX_LENGTH);
    e->maps[i].rule[0] = number_in(&r, 0, e->n_rules - 1);
    e->maps[i].rule[1] = number_in(&r, 0, e->n_rules - 1);
    e->maps[i].first = i ? -1 : 0, e->maps[i].written = -1;
  }
  if (r.bad || e->maps[0].channels != e->channels) return -1;
  e->n_ops = number_in(&r, 0, 1 << 20);
  if (r.bad || !(e->ops = calloc(e->n_ops + 1, sizeof *e->ops))) return -1;
  for (int i = 0; i < e->n_ops; i++)
    if (read_op(&r, e, e->ops + i)) return -1;
  if (sort_ops(e)) return -1;
  e->n_outputs = number_in(&r, 1, 1024);
  e->outputs = numbers_in(&r, e->n_outputs, 0, e->n_maps - 1);
  for (int i = 0; i < e->n_outputs && !r.bad; i++) {
    if (e->maps[e->outputs[i]].first < 0) return -1;
    e->maps[e->outputs[i]].last = e->n_phases;
  }
  int32_t length = number_in(&r, 0, 1 << 28);
  if (r.bad || (size_t)length > r.left || !(e->metadata = calloc((size_t)length + 1, 1))) return -1;
  memcpy(e->metadata, r.at, length);
  return 0;
}

/* ---- Planning for one size ---- */

static int length_of(const st_engine *e, int32_t rule_number, int64_t length) {
  const rule *r = e->rules + rule_number;
  for (int i = 0; i < r->steps; i++) {
    int32_t kind = r->step[3 * i], value = r->step[3 * i + 1], stride = r->step[3 * i + 2];
    if (kind == 0) length = value;
    else if (kind == 1) length *= value;
    else if (stride < 1) return -1;
    else if (length + value < 0) return -1;
    else length = (length + value + (kind == 2 ? 0 : stride - 1)) / stride + 1;
    if (length < 1 || length > MAX_LENGTH) return -1;
  }
  return (int)length;
}

static int offset_taps(stage *s) {
  if (!s->taps && s->count && !(s->taps = calloc(s->count, sizeof *s->taps))) return -1;
  for (int i = 0; i < s->count; i++) s->taps[i].weight = s->weights[i];
  return 0;
}

typedef struct { int64_t ring, filtered, resized, wide; } need;
static void most(int64_t *value, int64_t other) { if (other > *value) *value = other; }

static int plan_sources(st_engine *e, op *o, source *sources, int n, int H, int W, int at) {
  for (int i = 0; i < n; i++) {
    const map *m = e->maps + sources[i].map;
    int fits = m->H == H && m->W == W;
    sources[i].now = fits ? DIRECT : sources[i].mode;
    if (fits) continue;
    if (sources[i].mode == DIRECT) return fail(e, "the file is damaged: a block's maps differ in size");
    if (make_lerp(o->vertical + at + i, m->H, H, sources[i].mode) ||
        make_lerp(o->horizontal + at + i, m->W, W, sources[i].mode))
      return fail(e, "out of memory");
  }
  return 0;
}

/* Where a row of a source lies: rows that are made lie side by side, in the order of the op's list. */
static int32_t channel_at(const op *o, const source *s, int32_t row) {
  return s->now == DIRECT && s->mode != DIRECT ? o->picked[s->first + row] : row;
}

/* What a row costs beside its taps, and one that is resized: as many taps, measured on AVX-512. */
enum { ROW = 14, REPEATED = 2, RESIZED = 8 };

/* What the rows cost that are made of sources, so many columns in all. */
static int64_t cost_of(const source *sources, int n, int64_t columns) {
  int64_t cost = 0;
  for (int i = 0; i < n; i++)
    if (sources[i].now != DIRECT) cost += columns * sources[i].count * (sources[i].now == NEAREST ? REPEATED : RESIZED);
  return cost;
}

static int pitch_of(int width) { return (width + ALIGN - 1) / ALIGN * ALIGN; }

static int plan_block(st_engine *e, op *o, int height, int width, need *most_needed) {
  const map *m = e->maps + o->out;
  o->H = length_of(e, o->in_rule[0], height), o->W = length_of(e, o->in_rule[1], width);
  o->OH = m->H, o->OW = m->W;
  if (o->H < 1 || o->W < 1) return fail(e, "a picture of %d x %d pixels is too small", height, width);
  int n = o->n_pre + o->n_post + 1;
  if (!o->vertical) o->vertical = calloc(n, sizeof(lerp)), o->horizontal = calloc(n, sizeof(lerp));
  if (!o->vertical || !o->horizontal) return fail(e, "out of memory");
  if (plan_sources(e, o, o->pre_sources, o->n_pre, o->H, o->W, 0) ||
      plan_sources(e, o, o->post_sources, o->n_post, o->OH, o->OW, o->n_pre))
    return -1;
  o->keeps_rows = pitch_of(o->W) == pitch_of(o->OW); /* else rows of both kinds share memory */
  int lengths[2] = {o->H, o->W}, outs[2] = {o->OH, o->OW};
  for (int i = 0; i < 2; i++) {
    int total = (outs[i] - 1) * o->stride[i] + o->window[i] - lengths[i];
    o->pads[i] = o->pad[i] >= 0 ? o->pad[i] : (total > 0 ? total / 2 : 0);
  }
  int step = o->stride[1];
  o->L = o->pads[1] ? (o->pads[1] + ALIGN * step - 1) / (ALIGN * step) * (ALIGN * step) : 0; /* rows begin aligned */
  int reach = (o->window[1] - 1 - o->pads[1] + o->L) / step; /* of a tap, beyond its output */
  int64_t phase = (int64_t)pitch_of(o->OW) + (reach > 0 ? reach : 0);
  most(&phase, (o->L + (int64_t)pitch_of(o->W)) / step + 1);
  o->phase_pitch = (int32_t)((phase + 2 * ALIGN - 1) / ALIGN * ALIGN);
  int64_t row = (int64_t)o->phase_pitch * step, slot = row * o->pre.rows;
  if (slot > INT32_MAX / 2 || (int64_t)o->n_picked * (pitch_of(o->W) + pitch_of(o->OW)) > INT32_MAX / 2)
    return fail(e, "a picture of %d x %d pixels is too large", height, width);
  o->row_pitch = (int32_t)row, o->slot = (int32_t)slot;
  if (offset_taps(&o->pre) || offset_taps(&o->filter) || offset_taps(&o->post)) return fail(e, "out of memory");
  for (int i = 0; i < o->pre.count; i++) {
    const source *s = o->pre_sources + o->pre.a[i];
    o->pre.taps[i].table = o->pre.a[i], o->pre.taps[i].offset = channel_at(o, s, o->pre.b[i]) * pitch_of(o->W);
  }
  for (int i = 0; i < o->filter.count; i++) {
    int at = o->filter.c[i] - o->pads[1] + o->L;
    o->filter.taps[i].table = o->filter.b[i];
    o->filter.taps[i].offset = o->filter.a[i] * o->row_pitch + at % step * o->phase_pitch + at / step;
  }
  for (int i = 0; i < o->post.count; i++) {
    int32_t number = o->post.a[i], at = o->post.b[i];
    if (number) at = channel_at(o, o->post_sources + number - 1, at);
    o->post.taps[i].table = number, o->post.taps[i].offset = at * pitch_of(o->OW);
  }
  int pitch = pitch_of(o->W) > pitch_of(o->OW) ? pitch_of(o->W) : pitch_of(o->OW), widest = pitch;
  for (int i = 0; i < o->n_pre; i++) if (e->maps[o->pre_sources[i].map].pitch > widest) widest = e->maps[o->pre_sources[i].map].pitch;
  for (int i = 0; i < o->n_post; i++) if (e->maps[o->post_sources[i].map].pitch > widest) widest = e->maps[o->post_sources[i].map].pitch;
  if (o->filter.rows) most(&most_needed->ring, slot * (o->window[0] + 1) + ALIGN);
  most(&most_needed->filtered, (int64_t)o->filter.rows * pitch_of(o->OW));
  most(&most_needed->resized, (int64_t)o->n_picked * pitch);
  most(&most_needed->wide, widest + 6 * ALIGN + (step > 1 ? (int64_t)o->pre.rows * pitch_of(o->W) : 0));
  int64_t in = (int64_t)o->H * pitch_of(o->W), out = (int64_t)o->OH * m->pitch;
  o->cost = in * (o->pre.count + ROW * o->pre.rows) + out * (o->filter.count + ROW * o->filter.rows) +
            out * (o->post.count + ROW * o->post.rows) + cost_of(o->pre_sources, o->n_pre, in) +
            cost_of(o->post_sources, o->n_post, out) + 1;
  return 0;
}

static int plan_other(st_engine *e, op *o) {
  const map *m = e->maps + o->out, *x = e->maps + o->in[0], *y = e->maps + o->in[1];
  int64_t area = (int64_t)m->H * m->W, n = o->n_numbers;
  int same = m->H == x->H && m->W == x->W, fits = 0;
  switch (o->kind) {
    case POOL: fits = o->flags[1] || ((int64_t)(m->H - 1) * o->flags[4] - o->flags[6] < x->H &&
                                      (int64_t)(m->W - 1) * o->flags[5] - o->flags[7] < x->W); break;
    case MUL: fits = same && ((y->H == m->H && y->W == m->W) || (y->H == 1 && y->W == 1)); break;
    case MATMUL: fits = m->H == 1 && x->H == 1 && y->H == 1 && y->channels == x->W && m->W == y->W; break;
    case LINEAR: fits = m->H == x->H && n == (int64_t)m->W * x->W + m->W; break;
    case SOFTMAX: fits = same; break;
    case NORM: fits = same && n == 2 * (int64_t)m->W + 1; break;
    case RESHAPE: fits = area == (int64_t)x->H * x->W; break;
    case TRANSPOSE: fits = m->H == 1 && x->H == 1 && m->W == x->channels && m->channels == x->W; break;
    case CONSTANT: fits = n == (o->flags[0] ? area * m->channels : m->channels); break;
    case STUFF: fits = (m->H - 1) / o->flags[0] < x->H && (int64_t)(x->W - 1) * o->flags[1] < m->W; break;
  }
  o->cost = area * m->channels * (o->kind == MATMUL || o->kind == LINEAR ? x->W : 4) + (int64_t)x->channels * x->H * x->pitch + 1;
  return fits ? 0 : fail(e, "the file is damaged: maps do not fit an operation of kind %d", o->kind);
}

/* Give every map a place that no map alive at the same time has. */
static int64_t place_maps(st_engine *e) {
  int *alive = calloc(e->n_maps, sizeof *alive), n = 0;
  int64_t top = 0;
  if (!alive) return -1;
  for (int i = -1; i < e->n_ops; i++) {
    int k = i < 0 ? 0 : e->ops[i].out, phase = i < 0 ? 0 : e->ops[i].phase, kept = 0;
    map *m = e->maps + k;
    if (i >= 0 && m->first != phase) continue;
    for (int j = 0; j < n; j++)
      if (e->maps[alive[j]].last >= phase) alive[kept++] = alive[j];
    n = kept;
    int64_t size = (int64_t)m->channels * m->H * m->pitch + 2 * ALIGN, offset = 0;
    int j = 0; /* alive maps are sorted by their place */
    for (; j < n; j++) {
      const map *other = e->maps + alive[j];
      if (offset + size <= other->offset) break;
      offset = other->offset + (int64_t)other->channels * other->H * other->pitch + 2 * ALIGN;
    }
    memmove(alive + j + 1, alive + j, sizeof *alive * (n - j));
    alive[j] = k, n++;
    m->offset = offset;
    if (offset + size > top) top = offset + size;
    if (top > MAX_FLOATS) break;
  }
  free(alive);
  return top;
}

static void forget_plan(st_engine *e) {
  free(e->arena), e->arena = NULL;
  for (int t = 0; e->scratches && t < e->threads; t++) {
    free(e->scratches[t].ring), free(e->scratches[t].filtered);
    free(e->scratches[t].resized), free(e->scratches[t].wide);
  }
  free(e->scratches), e->scratches = NULL;
  e->planned_height = e->planned_width = e->threads = 0;
}

static float *floats(int64_t count) {
  void *memory = NULL;
  if (count > MAX_FLOATS || posix_memalign(&memory, 64, sizeof(float) * (size_t)(count + ALIGN))) return NULL;
  memset(memory, 0, sizeof(float) * (size_t)(count + ALIGN));
  return memory;
}

static int measure(st_engine *e, int height, int width) {
  if (height < 1 || width < 1 || height > MAX_LENGTH || width > MAX_LENGTH)
    return fail(e, "a picture of %d x %d pixels cannot be taken", height, width);
  if ((e->height && height != e->height) || (e->width && width != e->width))
    return fail(e, "the network takes pictures of %d x %d pixels only, not %d x %d", e->height, e->width, height, width);
  if (height % e->multiple || width % e->multiple)
    return fail(e, "the network takes heights and widths that are multiples of %d, not %d x %d", e->multiple, height, width);
  for (int i = 0; i < e->n_maps; i++) {
    map *m = e->maps + i;
    m->H = length_of(e, m->rule[0], height), m->W = length_of(e, m->rule[1], width);
    if (m->H < 1 || m->W < 1) return fail(e, "a picture of %d x %d pixels is too small or too large", height, width);
    m->pitch = pitch_of(m->W);
    if ((int64_t)m->channels * m->pitch > INT32_MAX / 2) return fail(e, "a picture of %d x %d pixels is too large", height, width);
  }
  if (e->maps[0].H != height || e->maps[0].W != width) return fail(e, "the file is damaged: the picture has a rule");
  return 0;
}

static int plan(st_engine *e, int height, int width, int threads) {
  if (threads < 1 || threads > MAX_THREADS) return fail(e, "threads must be 1 to %d, got %d", MAX_THREADS, threads);
  if (e->planned_height == height && e->planned_width == width && e->threads == threads) return 0;
  forget_plan(e);
  if (measure(e, height, width)) return -1;
  need needed = {0, 0, 0, 0};
  for (int i = 0; i < e->n_ops; i++)
    if (e->ops[i].kind == BLOCK ? plan_block(e, e->ops + i, height, width, &needed) : plan_other(e, e->ops + i)) return -1;
  const map *first = e->maps + e->outputs[0]; /* labels are made from its rows */
  most(&needed.resized, (int64_t)first->channels * pitch_of(width));
  most(&needed.wide, (int64_t)first->pitch + 6 * ALIGN);
  most(&needed.filtered, pitch_of(width));
  int64_t size = place_maps(e);
  if (size < 0 || size > MAX_FLOATS || !(e->arena = floats(size)) || !(e->scratches = calloc(threads, sizeof(scratch)))) {
    forget_plan(e);
    return fail(e, "out of memory for a picture of %d x %d pixels", height, width);
  }
  e->threads = threads;
  for (int t = 0; t < threads; t++) {
    scratch *s = e->scratches + t;
    s->ring = floats(needed.ring), s->filtered = floats(needed.filtered);
    s->resized = floats(needed.resized), s->wide = floats(needed.wide);
    if (!s->ring || !s->filtered || !s->resized || !s->wide) {
      forget_plan(e);
      return fail(e, "out of memory for a picture of %d x %d pixels", height, width);
    }
  }
  e->planned_height = height, e->planned_width = width;
  return 0;
}

/* ---- What a program calls ---- */

static void say(char *error, size_t size, const char *text) {
  if (error && size) snprintf(error, size, "%s", text);
}

st_engine *st_open_memory(const void *data, size_t size, char *error, size_t error_size) {
  const uint8_t *bytes = data;
  uint32_t version, sum;
  uint64_t length;
  const uint32_t one = 1;
  if (*(const uint8_t *)&one != 1) return say(error, error_size, "this machine's bytes are in an order that is not supported"), NULL;
  if (size < HEADER || memcmp(bytes, MAGIC, 8)) return say(error, error_size, "not a weights file of st_mm's engine"), NULL;
  memcpy(&version, bytes + 8, 4), memcpy(&sum, bytes + 12, 4), memcpy(&length, bytes + 16, 8);
  if (version > VERSION) return say(error, error_size, "the weights file is newer than this engine: update st_mm"), NULL;
  if (version < VERSION) return say(error, error_size, "the weights file is older than this engine: compile the ticket again"), NULL;
  if (length != size - HEADER) return say(error, error_size, "the weights file is truncated: copy it again"), NULL;
  if (checksum(bytes + HEADER, length) != sum) return say(error, error_size, "the weights file is damaged (checksum): copy it again"), NULL;
  st_engine *e = calloc(1, sizeof *e);
  if (!e || !(e->data = malloc(length + 1))) return free(e), say(error, error_size, "out of memory"), NULL;
  memcpy(e->data, bytes + HEADER, length);
  if (read_payload(e, e->data, length)) {
    st_close(e);
    return say(error, error_size, "the weights file is damaged: its parts do not fit together"), NULL;
  }
  return e;
}

st_engine *st_open(const char *path, char *error, size_t error_size) {
  FILE *file = fopen(path, "rb");
  if (!file) return say(error, error_size, "the weights file cannot be opened"), NULL;
  st_engine *e = NULL;
  long size = fseek(file, 0, SEEK_END) ? -1 : ftell(file);
  uint8_t *data = size < 0 || fseek(file, 0, SEEK_SET) ? NULL : malloc((size_t)size + 1);
  if (data && fread(data, 1, (size_t)size, file) == (size_t)size) e = st_open_memory(data, (size_t)size, error, error_size);
  else say(error, error_size, "the weights file cannot be read");
  free(data);
  fclose(file);
  return e;
}

static void free_lerp(lerp *l) { free(l->low), free(l->high), free(l->share); }

void st_close(st_engine *e) {
  if (!e) return;
  forget_plan(e);
  for (int i = 0; e->ops && i < e->n_ops; i++) {
    op *o = e->ops + i;
    for (int k = 0; o->vertical && o->horizontal && k < o->n_pre + o->n_post; k++) free_lerp(o->vertical + k), free_lerp(o->horizontal + k);
    free(o->vertical), free(o->horizontal), free(o->pre_sources), free(o->post_sources);
    free(o->pre.taps), free(o->filter.taps), free(o->post.taps);
  }
  free_lerp(&e->label_y), free_lerp(&e->label_x);
  free(e->ops), free(e->maps), free(e->rules), free(e->metadata), free(e->data), free(e);
}

int st_channels(const st_engine *e) { return e->channels; }
int st_outputs(const st_engine *e) { return e->n_outputs; }
const char *st_metadata(const st_engine *e) { return e->metadata; }
const char *st_error(const st_engine *e) { return e->error; }

int st_output_shape(st_engine *e, int output, int height, int width, int shape[3]) {
  if (output < 0 || output >= e->n_outputs) return fail(e, "there is no output %d", output);
  if (e->planned_height != height || e->planned_width != width) {
    forget_plan(e); /* the maps get other sizes */
    if (measure(e, height, width)) return -1;
  }
  const map *m = e->maps + e->outputs[output];
  shape[0] = m->channels, shape[1] = m->H, shape[2] = m->W;
  return 0;
}

/* What a call brings for each picture, and where its result goes. */
typedef struct {
  const float *picture; /* (channels, height, width), normalized, or */
  const uint8_t *rgb;   /* (height, width, 3) */
  float *const *outputs;
  int picture_number;
  uint8_t *labels;
} call;

static void take_lines(st_engine *e, const call *c, int y0, int y1) {
  const map *m = e->maps;
  for (int y = y0; y < y1; y++)
    for (int k = 0; k < m->channels; k++) {
      float *row = row_of(e, 0, y, k);
      if (c->picture) {
        memcpy(row, c->picture + ((int64_t)k * m->H + y) * m->W, sizeof(float) * m->W);
        continue;
      }
      float mean = e->mean[k], scale = 1 / e->std[k];
      const uint8_t *from = c->rgb + (int64_t)y * m->W * 3 + (e->swap ? 2 - k : k);
      for (int x = 0; x < m->W; x++) row[x] = (from[3 * x] - mean) * scale;
    }
}

static void give_channels(st_engine *e, const call *c, int t, int T) {
  for (int i = 0; i < e->n_outputs; i++) {
    const map *m = e->maps + e->outputs[i];
    float *to = c->outputs[i];
    if (!to) continue;
    to += (int64_t)c->picture_number * m->channels * m->H * m->W;
    int64_t rows = (int64_t)m->channels * m->H;
    for (int64_t r = rows * t / T; r < rows * (t + 1) / T; r++)
      memcpy(to + r * m->W, row_of(e, e->outputs[i], (int)(r % m->H), (int)(r / m->H)), sizeof(float) * m->W);
  }
}

static void label_lines(const st_engine *e, scratch *s, uint8_t *labels, int width, int y0, int y1) {
  const map *m = e->maps + e->outputs[0];
  const float *data = e->arena + m->offset;
  int64_t line = (int64_t)m->channels * m->pitch;
  for (int y = y0; y < y1; y++) {
    const float *low = data + e->label_y.low[y] * line, *high = data + e->label_y.high[y] * line;
    float *best = s->resized, *row = s->filtered;
    uint8_t *out = labels + (int64_t)y * width;
    memset(out, 0, width);
    for (int c = 0; c < m->channels; c++) {
      int64_t at = (int64_t)c * m->pitch;
      float *to = c ? row : best;
      if (m->W == width) for (int x = 0; x < width; x++) to[x] = low[at + x] + e->label_y.share[y] * (high[at + x] - low[at + x]);
      else resize_row(to, low + at, high + at, e->label_y.share[y], m->W, width, &e->label_x, s->wide);
      for (int x = 0; c && x < width; x++) {
        int more = row[x] > best[x];
        best[x] = more ? row[x] : best[x];
        out[x] = more ? (uint8_t)c : out[x];
      }
    }
  }
}

static void run_call(st_engine *e, const call *c) {
  int height = e->planned_height, width = e->planned_width;
  gate g = {0};
#ifdef _OPENMP
  pthread_mutex_init(&g.lock, NULL), pthread_cond_init(&g.open, NULL);
#pragma omp parallel num_threads(e->threads)
#endif
  {
    int t = 0, T = 1;
#ifdef _OPENMP
    t = omp_get_thread_num(), T = omp_get_num_threads();
#endif
    int from = (int)((int64_t)height * t / T), to = (int)((int64_t)height * (t + 1) / T);
    take_lines(e, c, from, to);
    wait_for_all(&g, T);
    run_phases(e, &g, t, T);
    if (c->labels) label_lines(e, e->scratches + t, c->labels, width, from, to);
    else give_channels(e, c, t, T);
  }
#ifdef _OPENMP
  pthread_mutex_destroy(&g.lock), pthread_cond_destroy(&g.open);
#endif
}

int st_run(st_engine *e, const float *pictures, int batch, int height, int width, float *const *outputs, int threads) {
  if (batch < 1) return fail(e, "a batch of at least one picture is wanted, got %d", batch);
  if (plan(e, height, width, threads)) return -1;
  for (int b = 0; b < batch; b++) {
    call c = {.picture = pictures + (int64_t)b * e->channels * height * width, .outputs = outputs, .picture_number = b};
    run_call(e, &c);
  }
  return 0;
}

int st_segment(st_engine *e, const uint8_t *rgb, int height, int width, uint8_t *labels, int threads) {
  if (e->channels != 3) return fail(e, "the network takes %d channels, not a colour picture", e->channels);
  if (plan(e, height, width, threads)) return -1;
  const map *m = e->maps + e->outputs[0];
  if (m->channels > 256) return fail(e, "%d classes do not fit a byte: take st_run", m->channels);
  if (make_lerp(&e->label_y, m->H, height, BILINEAR) || make_lerp(&e->label_x, m->W, width, BILINEAR)) return fail(e, "out of memory");
  call c = {.rgb = rgb, .labels = labels};
  run_call(e, &c);
  return 0;
}
