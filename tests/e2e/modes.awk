# The best factors of z[n], found without the program under test: units one by one, by a pattern search (Hooke & Jeeves 1961) over mean and log sd from several
# starts. Expectations under z ~ N(m, s^2): of (r - z^2)^2 by moments, of a Student log density by the trapezoidal rule.
#   awk -v model=nl2|bim|one -f modes.awk DATA.json   -> the greatest ELBO
# nl2: theta's variance is best at 1 / (1/25 + 4 N), its mean by golden section over the sum of the units' optima.
function unit(r, m, l, s, v, j, z, d, sum) {
  s = exp(l); v = s * s
  if (model == "one") {
    for (j = -36; j <= 36; j++) {
      z = m + s * j / 6; d = (r - z * z) / 0.3
      sum += weight[j] * log(1 + d * d / 3)
    }
    return student - 2 * sum - 0.5 * (m * m + v) + l + 0.5
  }
  sum = (r - m * m - v) ^ 2 + 4 * m * m * v + 2 * v * v
  return -0.5 * log(2 * pi * 0.25) - 2 * sum - log(prior) - (m * m + v) / (2 * prior * prior) + l + 0.5
}
function climb(r, m, l, step, here, moved) {
  here = unit(r, m, l)
  for (step = 0.3; step > 2e-5; step = moved ? step : step / 2) {
    moved = 1
    if ((try = unit(r, m + step, l)) > here) m += step
    else if ((try = unit(r, m - step, l)) > here) m -= step
    else if ((try = unit(r, m, l + step)) > here) l += step
    else if ((try = unit(r, m, l - step)) > here) l -= step
    else { moved = 0; continue }
    here = try
  }
  return here
}
function best(r, root, k, top, value) {
  root = r > 0 ? sqrt(r) : 0
  top = -1e300
  for (k = 0; k < 4; k++)
    if ((value = climb(r, k % 2 ? root : 0, k < 2 ? -1.5 : log(0.4 + root / 2))) > top) top = value
  return top
}
function total(theta, n, sum) {
  for (n = 1; n <= N; n++) sum += best(x[n] - theta)
  return sum - (model == "nl2" ? theta * theta / 50 : 0)
}
BEGIN { pi = 3.14159265358979; prior = model == "bim" ? 3 : 1; RS = "^$" }
{
  sub(/.*"x": *\[/, ""); sub(/\].*/, "")
  N = split($0, x, ",")
}
END {
  if (model == "one") {
    for (j = -36; j <= 36; j++) weight[j] = exp(-j * j / 72) / (6 * sqrt(2 * pi))
    student = log(2 / (pi * sqrt(3))) - log(0.3) # of three degrees of freedom
  }
  if (model != "nl2") { printf "%.6f\n", total(0); exit }
  a = -2; b = 3; g = (sqrt(5) - 1) / 2
  c = b - g * (b - a); d = a + g * (b - a); fc = total(c); fd = total(d)
  while (b - a > 1e-4)
    if (fc > fd) { b = d; d = c; fd = fc; c = b - g * (b - a); fc = total(c) }
    else { a = c; c = d; fc = fd; d = a + g * (b - a); fd = total(d) }
  v = 1 / (1 / 25 + 4 * N)
  printf "%.6f\n", total((a + b) / 2) - 2 * N * v - v / 50 - log(5) + 0.5 * log(v) + 0.5
}
