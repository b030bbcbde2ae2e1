#!/usr/bin/env python3
"""Writes tails.txt: log densities and distribution functions far out in their tails and at large counts, with 60 digits (mpmath, https://mpmath.org).

Each line: an expression of the language with its numbers as arguments, and its value. Parameterisations: Stan functions reference.
    python3 tests/e2e/tails.py >tests/e2e/tails.txt
"""
from mpmath import mp, mpf, log, log1p, exp, pi, loggamma, gammainc, betainc, ncdf, npdf, besseli, cos, sqrt, atan, quad, inf, nstr

mp.dps = 60


def phi(z):
    return -z * z / 2 - log(2 * pi) / 2


def lbeta(a, b):
    return loggamma(a) + loggamma(b) - loggamma(a + b)


def lchoose(n, k):
    return loggamma(n + 1) - loggamma(k + 1) - loggamma(n - k + 1)


def series(term, ratio):
    total, n = term, 0
    while abs(term) > total * mpf(10) ** -62:
        term *= ratio(n)
        total += term
        n += 1
    return total


def gamma_tails(a, x):
    if a > 1e4:  # DLMF 8.11.4
        p = exp(a * log(x) - x - loggamma(a + 1)) * series(mpf(1), lambda n: x / (a + n + 1))
        return p, 1 - p
    return gammainc(a, 0, x, regularized=True), gammainc(a, x, inf, regularized=True)


def beta_tails(a, b, x):
    if max(a, b) > 1e4:  # DLMF 8.17.8, for either tail
        front = exp(a * log(x) + b * log1p(-x) - lbeta(a, b))
        below = front / a * series(mpf(1), lambda n: x * (a + b + n) / (a + 1 + n))
        return below, front / b * series(mpf(1), lambda n: (1 - x) * (a + b + n) / (b + 1 + n))
    return betainc(a, b, 0, x, regularized=True), betainc(b, a, 0, 1 - x, regularized=True)


def normal_tails(z):
    return ncdf(z), ncdf(-z)


def student_tails(z, nu):
    p = betainc(nu / 2, mpf(1) / 2, 0, nu / (nu + z * z), regularized=True) / 2
    return (p, 1 - p) if z < 0 else (1 - p, p)


def skew_tails(z, alpha):
    density = lambda t: 2 * npdf(t) * ncdf(alpha * t)
    steps = [mpf(k) / 40 for k in range(0, 121)] + [mpf(9), mpf(40)]
    mp.dps = 30
    below = quad(density, [z - s for s in reversed(steps)])
    above = quad(density, [z + s for s in steps])
    mp.dps = 60
    return below, above


def laplace_tails(z):
    p = exp(-abs(z)) / 2
    return (p, 1 - p) if z < 0 else (1 - p, p)


def cauchy_tails(z):
    p = atan(1 / abs(z)) / pi
    return (p, 1 - p) if z < 0 else (1 - p, p)


# name: (log density of x and the arguments, (P(X <= x), P(X > x)))
CONTINUOUS = {
    "normal": (lambda x, m, s: phi((x - m) / s) - log(s), lambda x, m, s: normal_tails((x - m) / s)),
    "std_normal": (lambda x: phi(x), normal_tails),
    "student_t": (lambda x, nu, m, s: -(nu + 1) / 2 * log1p(((x - m) / s) ** 2 / nu) - lbeta(mpf(1) / 2, nu / 2) - log(nu) / 2 - log(s),
                  lambda x, nu, m, s: student_tails((x - m) / s, nu)),
    "cauchy": (lambda x, m, s: -log1p(((x - m) / s) ** 2) - log(pi * s), lambda x, m, s: cauchy_tails((x - m) / s)),
    "double_exponential": (lambda x, m, s: -abs(x - m) / s - log(2 * s), lambda x, m, s: laplace_tails((x - m) / s)),
    "logistic": (lambda x, m, s: -(x - m) / s - 2 * log1p(exp(-(x - m) / s)) - log(s),
                 lambda x, m, s: (1 / (1 + exp(-(x - m) / s)), 1 / (1 + exp((x - m) / s)))),
    "gumbel": (lambda x, m, b: -(x - m) / b - exp(-(x - m) / b) - log(b), lambda x, m, b: (exp(-exp(-(x - m) / b)), -mp.expm1(-exp(-(x - m) / b)))),
    "skew_normal": (lambda x, xi, o, a: log(2) + phi((x - xi) / o) + log(ncdf(a * (x - xi) / o)) - log(o), lambda x, xi, o, a: skew_tails((x - xi) / o, a)),
    "lognormal": (lambda x, m, s: phi((log(x) - m) / s) - log(s) - log(x), lambda x, m, s: normal_tails((log(x) - m) / s)),
    "gamma": (lambda x, a, b: (a - 1) * log(x) - b * x + a * log(b) - loggamma(a), lambda x, a, b: gamma_tails(a, b * x)),
    "inv_gamma": (lambda x, a, b: -(a + 1) * log(x) - b / x + a * log(b) - loggamma(a), lambda x, a, b: gamma_tails(a, b / x)[::-1]),
    "chi_square": (lambda x, n: (n / 2 - 1) * log(x) - x / 2 - n / 2 * log(2) - loggamma(n / 2), lambda x, n: gamma_tails(n / 2, x / 2)),
    "inv_chi_square": (lambda x, n: -(n / 2 + 1) * log(x) - 1 / (2 * x) - n / 2 * log(2) - loggamma(n / 2),
                       lambda x, n: gamma_tails(n / 2, 1 / (2 * x))[::-1]),
    "exponential": (lambda x, b: log(b) - b * x, lambda x, b: (-mp.expm1(-b * x), exp(-b * x))),
    "weibull": (lambda x, a, s: log(a / s) + (a - 1) * log(x / s) - (x / s) ** a, lambda x, a, s: (-mp.expm1(-(x / s) ** a), exp(-(x / s) ** a))),
    "pareto": (lambda x, y, a: log(a) + a * log(y) - (a + 1) * log(x), lambda x, y, a: (-mp.expm1(a * log(y / x)), (y / x) ** a)),
    "beta": (lambda x, a, b: (a - 1) * log(x) + (b - 1) * log1p(-x) - lbeta(a, b), lambda x, a, b: beta_tails(a, b, x)),
    "von_mises": (lambda x, m, k: k * cos(x - m) - log(2 * pi) - log(besseli(0, k)), None),
}
DISCRETE = {
    "binomial": (lambda y, n, t: lchoose(n, y) + y * log(t) + (n - y) * log1p(-t), lambda y, n, t: beta_tails(y + 1, n - y, t)[::-1]),
    "binomial_logit": (lambda y, n, a: lchoose(n, y) + y * a - n * log1p(exp(a)), lambda y, n, a: beta_tails(y + 1, n - y, 1 / (1 + exp(-a)))[::-1]),
    "poisson": (lambda y, l: y * log(l) - l - loggamma(y + 1), lambda y, l: gamma_tails(y + 1, l)[::-1]),
    "poisson_log": (lambda y, a: y * a - exp(a) - loggamma(y + 1), lambda y, a: gamma_tails(y + 1, exp(a))[::-1]),
    "neg_binomial_2": (lambda y, m, p: lchoose(y + p - 1, y) + y * log(m / (m + p)) + p * log(p / (m + p)), lambda y, m, p: beta_tails(p, y + 1, p / (m + p))),
    "neg_binomial_2_log": (lambda y, e, p: lchoose(y + p - 1, y) - y * log1p(p * exp(-e)) - p * log1p(exp(e) / p), None),
    "geometric": (lambda y, t: log(t) + y * log1p(-t), lambda y, t: (-mp.expm1((y + 1) * log1p(-t)), exp((y + 1) * log1p(-t)))),
    "beta_binomial": (lambda y, n, a, b: lchoose(n, y) + lbeta(y + a, n - y + b) - lbeta(a, b), None),
}
POINTS = {
    "normal": [(-40, 0, 1), (3, 1, 0.05), (1e6, 0, 1e3)], "std_normal": [(-300,), (12,), (1e-9,)],
    "student_t": [(-1e9, 2.5, 0, 1), (40, 300, 0, 1), (1e-7, 4, 0, 1), (-2, 1e7, 0, 1)], "cauchy": [(-1e30, 0, 1), (1e12, 3, 2)],
    "double_exponential": [(-900, 0, 1), (800, 1, 2)], "logistic": [(-900, 0, 1), (900, 0, 1)], "gumbel": [(-6, 0, 1), (700, 0, 1)],
    "skew_normal": [(-6, 0, 1, 3), (7, 0, 1, 3), (5, 0.5, 2, -4)], "lognormal": [(1e-30, 0, 1), (1e40, 1, 2)],
    "gamma": [(1e-20, 2.5, 1), (400, 2.5, 1), (1.01e6, 1e6, 1), (9.8e5, 1e6, 1)], "inv_gamma": [(0.002, 2, 1), (1e25, 2, 1)],
    "chi_square": [(900, 3), (1e-12, 3)], "inv_chi_square": [(0.001, 4), (1e18, 4)], "exponential": [(1e-17, 1.5), (900, 1.5)],
    "weibull": [(1e-12, 1.5, 2), (300, 1.5, 2)], "pareto": [(1e80, 1.5, 3), (1.5000001, 1.5, 3)],
    "beta": [(1e-30, 2, 3), (0.999999, 2, 3), (0.3, 2000, 1500), (0.57, 1e5, 7e4)], "von_mises": [(3, 0, 700), (0.1, 0, 1e5), (1, 0.5, 0.001)],
    "binomial": [(9, 1000000, 0.0005), (500300, 1000000, 0.5), (1, 30, 1e-12)], "binomial_logit": [(40, 50, -20), (2, 40, 9)],
    "poisson": [(1000000, 990000.5), (3, 900), (60, 0.5)], "poisson_log": [(2, 9), (1200, 2)],
    "neg_binomial_2": [(1000000, 900, 5), (3, 4000, 2.5), (12, 3, 5000)], "neg_binomial_2_log": [(100000, 3, 2), (2, 30, 1.5), (4, -40, 0.5)],
    "geometric": [(5000, 0.3), (3, 1e-9)], "beta_binomial": [(3, 100000, 2.5, 0.5), (99990, 100000, 30, 2)],
}


def number(v):
    return repr(float(v)) if isinstance(v, float) else str(v)


def line(name, what, point, value):
    if value == -inf or abs(value) < mpf("1e-300"):
        return
    print(" ".join([f"{name}_{what}"] + [number(v) for v in point] + [nstr(value, 20, min_fixed=0, max_fixed=0)]))


for table, mass in ((CONTINUOUS, "lpdf"), (DISCRETE, "lpmf")):
    for name, (density, tails) in table.items():
        for point in POINTS[name]:
            p = [mpf(v) for v in point]
            line(name, mass, point, density(*p))
            both = tails(*p) if tails else (0, 0)
            for what, tail, other in (("lcdf", *both), ("lccdf", *both[::-1])):
                if tail > 0:
                    line(name, what, point, log(tail) if tail < other else log1p(-other))
