/* Label the pixels of a picture with a compiled ticket, in C alone.
 *
 *     cc -O3 -march=native -fopenmp -I st_mm/deploy/engine examples/segment.c \
 *         st_mm/deploy/engine/st_engine.c -lm -o segment
 *     ./segment ticket.stw street.ppm labels.pgm [threads]
 *
 * The picture is a binary PPM (P6); the labels are written as a binary PGM (P5) of its size.
 */
#include "st_engine.h"

#include <stdio.h>
#include <stdlib.h>

static int stop(const char *what) {
  fprintf(stderr, "segment: %s\n", what);
  return 1;
}

/* The next number of a PPM's header; comments run from # to the end of a line. */
static int next_number(FILE *file) {
  int c = fgetc(file), value = 0, digits = 0;
  while (c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '#') {
    if (c == '#') while (c != '\n' && c != EOF) c = fgetc(file);
    c = fgetc(file);
  }
  for (; c >= '0' && c <= '9' && digits < 6; c = fgetc(file), digits++) value = 10 * value + c - '0';
  return digits ? value : -1; /* the byte after a number is read too, as the format wants */
}

static uint8_t *read_picture(const char *path, int *height, int *width) {
  FILE *file = fopen(path, "rb");
  uint8_t *rgb = NULL;
  if (file && fgetc(file) == 'P' && fgetc(file) == '6') {
    *width = next_number(file), *height = next_number(file);
    if (*width > 0 && *height > 0 && next_number(file) == 255) {
      size_t size = 3 * (size_t)*width * (size_t)*height;
      rgb = malloc(size);
      if (rgb && fread(rgb, 1, size, file) != size) free(rgb), rgb = NULL;
    }
  }
  if (file) fclose(file);
  return rgb;
}

int main(int count, char **words) {
  char error[256];
  int height, width, code = 0;
  if (count < 4) return stop("give a weights file, a picture (PPM) and where the labels go (PGM)");
  st_engine *engine = st_open(words[1], error, sizeof error);
  if (!engine) return stop(error);
  uint8_t *rgb = read_picture(words[2], &height, &width);
  if (!rgb) return st_close(engine), stop("the picture is not a binary PPM with values up to 255");
  size_t pixels = (size_t)height * (size_t)width;
  uint8_t *labels = malloc(pixels);
  if (!labels) code = stop("out of memory");
  else if (st_segment(engine, rgb, height, width, labels, count > 4 ? atoi(words[4]) : 1))
    code = stop(st_error(engine));
  else {
    FILE *file = fopen(words[3], "wb");
    int written = file && fprintf(file, "P5\n%d %d\n255\n", width, height) > 0 &&
                  fwrite(labels, 1, pixels, file) == pixels;
    if ((file && fclose(file)) || !written) code = stop("the labels cannot be written");
  }
  free(labels), free(rgb), st_close(engine);
  return code;
}
