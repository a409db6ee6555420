/*
 * A C file of `thimble export` as a process of benchmarks/inference.py: what inference_worker.py is for the others.
 *
 *   cc -DCLASSIFY=reference_classify inference_worker.c reference.c -o reference && ./reference IMAGES
 *
 * Reads lines of "batch warmup calls" and answers each with the seconds of the calls, a call being so many images in a
 * row, and the most memory that this process ever had.
 */

#define _POSIX_C_SOURCE 199309L

#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define IMAGE 3072
#define BATCH 64

extern int CLASSIFY(const uint8_t image[IMAGE]);

static uint8_t images[BATCH][IMAGE];

/* In bytes, from Linux's books: getrusage would begin with what the process that started this one had. */
static long peak(void)
{
    char line[256];
    long kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "VmHWM: %ld kB", &kilobytes) == 1) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    return 1024 * kilobytes;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void call(int batch)
{
    for (int i = 0; i < batch; i++) {
        CLASSIFY(images[i]);
    }
}

int main(int argc, char **argv)
{
    const long before = peak();
    int batch, warmup, calls;
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (!file || fread(images, IMAGE, BATCH, file) != BATCH) {
        fprintf(stderr, "expected a file of %d images\n", BATCH);
        return 2;
    }
    fclose(file);
    printf("{\"imported_bytes\": %ld, \"loaded_bytes\": %ld}\n", before, peak());
    fflush(stdout);
    while (scanf("%d %d %d", &batch, &warmup, &calls) == 3 && batch >= 1 && batch <= BATCH) {
        for (int i = 0; i < warmup; i++) {
            call(batch);
        }
        printf("{\"seconds\": [");
        for (int i = 0; i < calls; i++) {
            const double started = seconds();
            call(batch);
            printf("%s%.9f", i ? ", " : "", seconds() - started);
        }
        printf("], \"peak_bytes\": %ld}\n", peak());
        fflush(stdout);
    }
    return 0;
}
