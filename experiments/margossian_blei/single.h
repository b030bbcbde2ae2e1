/* Around the kernels of published.c's models that take draws, once before and once after: functions of the draws in single precision, as the
 * published code has them. What adds up stays double. */
#ifndef sin
extern float sinf(float) PGM_SIMD;
extern float cosf(float) PGM_SIMD;
#define sin(x) ((double)sinf((float)(x)))
#define cos(x) ((double)cosf((float)(x)))
#define exp(x) ((double)expf((float)(x)))
#else
#undef sin
#undef cos
#undef exp
#endif
