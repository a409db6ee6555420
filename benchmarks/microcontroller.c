/*
 * A C file of `thimble export` on an emulated Arm Cortex-M, without an operating system: what benchmarks/microcontroller.py
 * compiles and runs in QEMU. Of every image it prints the ticks that it took and the bits of its logits, then the stack used.
 *
 * Compiled with -DLOGITS=reference_logits -DCLASSES=10 -DIMAGE=3072 -DIMAGES="\"file\"" -DNUM_IMAGES=10.
 */

#include <stdint.h>
#include <string.h>

#define STACK_BYTES 8192
#define PAINT 0xA5A5A5A5u

extern void LOGITS(const uint8_t image[IMAGE], float logits[CLASSES]);
extern const uint8_t images[NUM_IMAGES][IMAGE];
extern uint32_t data_from[], data_begin[], data_end[], bss_begin[], bss_end[];

__asm__(".section .rodata\n.global images\nimages:\n.incbin " IMAGES "\n.text\n");

static uint32_t stack[STACK_BYTES / 4] __attribute__((section(".stack")));

void reset(void);
static void fault(void);

/* The first words of memory: where the stack begins, where the program does, and two of the ways in which it may fail. */
__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
    stack + STACK_BYTES / 4, (const void *)reset, (const void *)fault, (const void *)fault,
};

/* The debugger's door, which QEMU opens: https://github.com/ARM-software/abi-aa/blob/main/semihosting/semihosting.rst */
static void call_host(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

static void print(const char *text)
{
    call_host(0x04, text);
}

static void print_hexadecimal(uint32_t number)
{
    char text[10] = "00000000 ";
    for (int i = 7; i >= 0; i--, number >>= 4) {
        text[i] = "0123456789abcdef"[number & 15];
    }
    print(text);
}

static void stop(void)
{
    call_host(0x18, (const void *)0x20026); /* the program has ended */
    for (;;) {
    }
}

static void fault(void)
{
    print("fault\n");
    stop();
}

/* Of every Cortex-M: its timer, 24 bits that count down (control, reload, current), and the key to the floating-point unit,
   which a core without one ignores. */
#define SYSTICK ((volatile uint32_t *)0xE000E010)
#define FPU_ACCESS (*(volatile uint32_t *)0xE000ED88)

static void run(void)
{
    float logits[CLASSES];
    for (int i = 0; i < NUM_IMAGES; i++) {
        SYSTICK[1] = 0xFFFFFF;
        SYSTICK[2] = 0;
        SYSTICK[0] = 5;
        const uint32_t before = SYSTICK[2];
        LOGITS(images[i], logits);
        const uint32_t ticks = (before - SYSTICK[2]) & 0xFFFFFF;
        print("image ");
        print_hexadecimal(ticks);
        for (int c = 0; c < CLASSES; c++) {
            uint32_t bits;
            memcpy(&bits, &logits[c], 4);
            print_hexadecimal(bits);
        }
        print("\n");
    }
}

void reset(void)
{
    memcpy(data_begin, data_from, (size_t)((char *)data_end - (char *)data_begin));
    memset(bss_begin, 0, (size_t)((char *)bss_end - (char *)bss_begin));
    FPU_ACCESS |= 0xF00000;
    uint32_t *top;
    __asm__ volatile("mov %0, sp" : "=r"(top));
    for (uint32_t *word = stack; word < top - 16; word++) {
        *word = PAINT;
    }
    run();
    uint32_t untouched = 0;
    while (stack[untouched] == PAINT) {
        untouched++;
    }
    print("stack ");
    print_hexadecimal(STACK_BYTES - 4 * untouched);
    print("\n");
    stop();
}
