/* A ticket's engine: reads a weights file that tools/deploy/compile.py wrote, and runs it. */
#ifndef ST_ENGINE_H
#define ST_ENGINE_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

typedef struct st_engine st_engine;

/* Open a weights file, or one that lies in memory. NULL on error: `error` then says why. */
st_engine *st_open(const char *path, char *error, size_t error_size);
st_engine *st_open_memory(const void *data, size_t size, char *error, size_t error_size);
void st_close(st_engine *engine);

int st_channels(const st_engine *engine); /* of a picture */
int st_outputs(const st_engine *engine);  /* how many maps the network returns */
const char *st_metadata(const st_engine *engine); /* JSON: classes, palette, mean, std ... */

/* Channels, height and width of an output for pictures of a size. 0, or -1 with an error. */
int st_output_shape(st_engine *engine, int output, int height, int width, int shape[3]);

/* Run normalized pictures (batch, channels, height, width); each of `outputs` is filled with
 * (batch, channels, height, width) of that output, or skipped where NULL. 0, or -1. */
int st_run(st_engine *engine, const float *pictures, int batch, int height, int width,
           float *const *outputs, int threads);

/* Label the pixels of one picture (height, width, 3), RGB, 0 to 255: normalize it, run, resize the
 * first output to the picture, and take the largest channel of each pixel. 0, or -1. */
int st_segment(st_engine *engine, const uint8_t *rgb, int height, int width, uint8_t *labels,
               int threads);

/* What the last call that returned -1 found wrong. */
const char *st_error(const st_engine *engine);

#ifdef __cplusplus
}
#endif
#endif
