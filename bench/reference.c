/* The unit of the benchmarks: one gradient of the sampled ELBO of the linear model
 *
 *   theta ~ normal(0, 100), z[n] ~ normal(0, 1), x[n] ~ normal(theta + tau z[n], sigma),   tau 1.155, sigma 2.43, n = 1..10 000
 *
 * under factorised Gaussian factors (2 N + 2 parameters), averaged over 100 draws through which the gradient is taken (u = mean + sd eps), in double precision, on
 * one thread, written by hand: draws from a counter-based generator (Philox-4x32-10; Salmon et al. 2011) made where they are used, by Box and Muller's transform, in one
 * loop that the compiler vectorises; nothing of size draws x N is stored. What a fit by stochastic gradients does some thousand times over.
 *   reference [REPEATS]   -> seconds of processor time, seconds, of the fastest repeat, and a checksum
 * Compile with -O3 -march=native -mprefer-vector-width=512 -fno-math-errno -fno-trapping-math -fno-builtin-sin -fno-builtin-cos -fopenmp-simd. */
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { N = 10000, DRAWS = 100, BLOCK = 250 };

/* vector versions in libmvec */
__attribute__((simd("notinbranch"), const, nothrow)) double log(double);
__attribute__((simd("notinbranch"), const, nothrow)) double sin(double);
__attribute__((simd("notinbranch"), const, nothrow)) double cos(double);

static double x[N], mean[N], log_sd[N], mean_bar[N], sd_bar[N];

/* Two normals per position of the block, for draw d of unit `first` on; counters (unit, d). */
static void normals(uint32_t first, uint32_t d, double *restrict a, double *restrict b)
{
  double r[BLOCK], t[BLOCK];
  for (uint32_t i = 0; i < BLOCK; i++) {
    uint64_t c0 = first + i, c1 = d, c2 = 0x5EED, c3 = 0, k0 = 0xA511E9B3u, k1 = 0x1F123BB5u;
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
      const uint64_t p0 = (uint64_t)(uint32_t)c0 * 0xD2511F53u, p1 = (uint64_t)(uint32_t)c2 * 0xCD9E8D57u;
      c0 = (p1 >> 32) ^ c1 ^ k0, c2 = (p0 >> 32) ^ c3 ^ k1;
      c1 = (uint32_t)p1, c3 = (uint32_t)p0;
      k0 = (uint32_t)(k0 + 0x9E3779B9u), k1 = (uint32_t)(k1 + 0xBB67AE85u);
    }
    r[i] = ((double)(int64_t)(c0 << 20 ^ c1 >> 12) + 0.5) * 0x1p-52;
    t[i] = (double)(int64_t)(uint32_t)c2 * (6.28318530717958647692 * 0x1p-32);
  }
#pragma omp simd
  for (int i = 0; i < BLOCK; i++) r[i] = sqrt(-2 * log(r[i]));
#pragma omp simd
  for (int i = 0; i < BLOCK; i++) a[i] = r[i] * cos(t[i]); /* sin and cos of one argument in one loop would become one scalar call */
#pragma omp simd
  for (int i = 0; i < BLOCK; i++) b[i] = r[i] * sin(t[i]);
}

static double gradient(double theta_mean, double theta_log_sd, double *theta_mean_bar, double *theta_sd_bar)
{
  const double tau = 1.155, sigma = 2.43, p = 1 / (sigma * sigma), theta_sd = exp(theta_log_sd);
  double value = 0, m_bar = 0, s_bar = 0, theta_eps[DRAWS], one[BLOCK], two[BLOCK];
  for (int d = 0; d < DRAWS; d += 2) { /* theta's draws: unit N */
    normals(N, (uint32_t)d, one, two);
    theta_eps[d] = one[0], theta_eps[d + 1] = two[0];
  }
  for (int first = 0; first < N; first += BLOCK) {
    double sd[BLOCK];
    for (int i = 0; i < BLOCK; i++) sd[i] = exp(log_sd[first + i]), mean_bar[first + i] = sd_bar[first + i] = 0;
    for (int d = 0; d < DRAWS; d += 2) {
      double bars[2] = {0, 0};
      normals((uint32_t)first, (uint32_t)d, one, two);
      for (int h = 0; h < 2; h++) {
        const double *restrict eps = h ? two : one, theta = theta_mean + theta_sd * theta_eps[d + h];
        double sum = 0, bar = 0;
#pragma omp simd reduction(+ : sum, bar)
        for (int i = 0; i < BLOCK; i++) {
          const double z = mean[first + i] + sd[i] * eps[i], e = x[first + i] - theta - tau * z, g = tau * p * e - z;
          sum -= 0.5 * (z * z + p * e * e);
          bar += p * e;
          mean_bar[first + i] += g;
          sd_bar[first + i] += g * eps[i];
        }
        value += sum;
        bars[h] = bar;
      }
      m_bar += bars[0] + bars[1];
      s_bar += bars[0] * theta_eps[d] + bars[1] * theta_eps[d + 1];
    }
  }
  for (int i = 0; i < N; i++) {
    mean_bar[i] /= DRAWS;
    sd_bar[i] = sd_bar[i] / DRAWS * exp(log_sd[i]) + 1;
    value += DRAWS * log_sd[i];
  }
  *theta_mean_bar = m_bar / DRAWS - theta_mean / 1e4;
  *theta_sd_bar = (s_bar / DRAWS - theta_sd / 1e4) * theta_sd + 1;
  return value / DRAWS - 0.5 * (theta_mean * theta_mean + theta_sd * theta_sd) / 1e4 + theta_log_sd;
}

static double seconds(clockid_t clock)
{
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
  const int repeats = argc > 1 ? atoi(argv[1]) : 20;
  double best_cpu = INFINITY, best = INFINITY, check = 0, a, b;
  for (int i = 0; i < N; i++) x[i] = 1.7 + 2.7 * sin(i * 0.7), mean[i] = 0.3 * cos(i), log_sd[i] = -0.1;
  for (int r = 0; r < repeats; r++) {
    const double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
    check = gradient(1.5, -3, &a, &b);
    best_cpu = fmin(best_cpu, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    best = fmin(best, seconds(CLOCK_MONOTONIC) - wall);
  }
  printf("%.9f %.9f %.10g\n", best_cpu, best, check + a + b);
  return 0;
}
