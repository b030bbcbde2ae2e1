#!/bin/bash
# Every function of compiler/func.def: its value against another way to write it, at a point, and its kernels (kernels/kernels.c): gradients against
# differences, expectations against draws. A function without a row in the table below fails the test.
source "$(dirname "$0")/lib.sh"
: "${PGMC_CFLAGS:=}"

# name | call | the same in other words. p, q in (0.5, 1.5), t in (0, 1), r and s real, v and w vectors of 3, A and S (positive definite) matrices, L its factor.
table() {
  cat <<'TABLE'
exp | exp(r) | 1 / exp(-r)
log | log(p) | -log(1 / p)
log1p | log1p(p) | log(1 + p)
log1m | log1m(t) | log(1 - t)
expm1 | expm1(r) | exp(r) - 1
exp2 | exp2(r) | exp(r * log(2))
log2 | log2(p) | log(p) / log(2)
log10 | log10(p) | log(p) / log(10)
log1p_exp | log1p_exp(r) | log(1 + exp(r))
log1m_exp | log1m_exp(-p) | log(1 - exp(-p))
sqrt | sqrt(p) | exp(0.5 * log(p))
cbrt | cbrt(p) | exp(log(p) / 3)
square | square(r) | r * r
inv | inv(p) | 1 / p
inv_sqrt | inv_sqrt(p) | 1 / sqrt(p)
inv_square | inv_square(p) | 1 / (p * p)
abs | abs(r) | sqrt(r * r)
fabs | fabs(r) | sqrt(r * r)
floor | floor(5.3) * r | 5 * r
ceil | ceil(5.3) * r | 6 * r
round | round(5.3) * r | 5 * r
sin | sin(r) | cos(r - pi() / 2)
cos | cos(r) | sin(r + pi() / 2)
tan | tan(t) | sin(t) / cos(t)
asin | asin(t) | atan2(t, sqrt(1 - t * t))
acos | acos(t) | pi() / 2 - asin(t)
atan | atan(r) | atan2(r, 1)
sinh | sinh(r) | (exp(r) - exp(-r)) / 2
cosh | cosh(r) | (exp(r) + exp(-r)) / 2
tanh | tanh(r) | (exp(r) - exp(-r)) / (exp(r) + exp(-r))
asinh | asinh(r) | log(r + sqrt(r * r + 1))
acosh | acosh(1 + p) | log(1 + p + sqrt(p * p + 2 * p))
atanh | atanh(t) | 0.5 * log((1 + t) / (1 - t))
inv_logit | inv_logit(r) | 1 / (1 + exp(-r))
logit | logit(t) | log(t) - log(1 - t)
log_inv_logit | log_inv_logit(r) | -log(1 + exp(-r))
log1m_inv_logit | log1m_inv_logit(r) | -log(1 + exp(r))
inv_cloglog | inv_cloglog(r) | 1 - exp(-exp(r))
softplus | softplus(r) | log(1 + exp(r))
relu | relu(r) | 0.5 * (r + abs(r))
leaky_relu | leaky_relu(r, 0.2) | 0.6 * r + 0.4 * abs(r)
gelu | gelu(r) | r * Phi(r)
silu | silu(r) | r * inv_logit(r)
erf | erf(r) | 2 * Phi(r * sqrt(2)) - 1
erfc | erfc(r) | 2 * Phi(-r * sqrt(2))
Phi | Phi(r) | exp(normal_lcdf(r | 0, 1))
Phi_approx | Phi_approx(r) | inv_logit(0.07056 * r ^ 3 + 1.5976 * r)
inv_Phi | Phi(inv_Phi(t)) | t
lgamma | lgamma(p + 1) | log(p) + lgamma(p)
tgamma | tgamma(p) | exp(lgamma(p))
digamma | digamma(p + 1) | digamma(p) + 1 / p
trigamma | trigamma(p + 1) | trigamma(p) - 1 / (p * p)
lbeta | lbeta(p, q) | lgamma(p) + lgamma(q) - lgamma(p + q)
lchoose | lchoose(3 + p, q) | lgamma(4 + p) - lgamma(1 + q) - lgamma(4 + p - q)
pow | pow(p, r) | exp(r * log(p))
atan2 | atan2(p, q) | pi() / 2 - atan2(q, p)
hypot | hypot(r, s) | sqrt(r * r + s * s)
fmin | fmin(r, s) | 0.5 * (r + s - abs(r - s))
fmax | fmax(r, s) | 0.5 * (r + s + abs(r - s))
fdim | fdim(r, s) | 0.5 * (r - s + abs(r - s))
fma | fma(r, s, p) | r * s + p
lmultiply | lmultiply(r, p) | r * log(p)
log_diff_exp | log_diff_exp(2 + p, p) | p + log(exp(2) - 1)
log_mix | log_mix(t, r, s) | log(t * exp(r) + (1 - t) * exp(s))
min | min(v) + min(r, s) | fmin(fmin(v[1], v[2]), v[3]) + fmin(r, s)
max | max(v) + max(r, s) | fmax(fmax(v[1], v[2]), v[3]) + fmax(r, s)
log_sum_exp | log_sum_exp(v) + log_sum_exp(r, s) | log(exp(v[1]) + exp(v[2]) + exp(v[3])) + log(exp(r) + exp(s))
sum | sum(v) | v[1] + v[2] + v[3]
prod | prod(v) | v[1] * v[2] * v[3]
mean | mean(v) | sum(v) / 3
sd | sd(v) | sqrt(variance(v))
variance | variance(v) | (square(v[1] - mean(v)) + square(v[2] - mean(v)) + square(v[3] - mean(v))) / 2
dot_self | dot_self(v) | square(v[1]) + square(v[2]) + square(v[3])
norm1 | norm1(v) | abs(v[1]) + abs(v[2]) + abs(v[3])
norm2 | norm2(v) | sqrt(dot_self(v))
dot | dot(v, w) | v[1] * w[1] + v[2] * w[2] + v[3] * w[3]
dot_product | dot_product(v, w) | v[1] * w[1] + v[2] * w[2] + v[3] * w[3]
distance | distance(v, w) | norm2(v - w)
squared_distance | squared_distance(v, w) | dot_self(v - w)
softmax | softmax(v)[2] | exp(v[2] - log_sum_exp(v))
log_softmax | log_softmax(v)[2] | v[2] - log_sum_exp(v)
cumulative_sum | dot(cumulative_sum(v), w) | v[1] * w[1] + (v[1] + v[2]) * w[2] + sum(v) * w[3]
reverse | dot(reverse(v), w) | v[3] * w[1] + v[2] * w[2] + v[1] * w[3]
diag_matrix | sum(diag_matrix(v) * w) | dot(v, w)
diagonal | sum(diagonal(A)) | A[1, 1] + A[2, 2] + A[3, 3]
identity_matrix | sum(identity_matrix(3) * v) | sum(v)
rep_vector | dot(rep_vector(r, 3), v) | r * sum(v)
rep_row_vector | rep_row_vector(r, 3) * v | r * sum(v)
rep_matrix | sum(rep_matrix(r, 3, 3) * v) | 3 * r * sum(v)
to_vector | dot(to_vector(v'), w) | dot(v, w)
to_row_vector | to_row_vector(v) * w | dot(v, w)
append_row | sum(append_row(v, w)) | sum(v) + sum(w)
append_col | append_col(A, A)[2, 4] | A[2, 1]
transpose | transpose(A)[1, 3] | A[3, 1]
add_diag | sum(add_diag(A, v)) | sum(A) + sum(v)
diag_pre_multiply | diag_pre_multiply(v, A)[2, 3] | v[2] * A[2, 3]
diag_post_multiply | diag_post_multiply(A, v)[2, 3] | A[2, 3] * v[3]
crossprod | trace(crossprod(A)) | sum(A .* A)
tcrossprod | tcrossprod(A)[1, 2] | A[1, 1] * A[2, 1] + A[1, 2] * A[2, 2] + A[1, 3] * A[2, 3]
quad_form | quad_form(A, v) | v' * (A * v)
trace | trace(A) | A[1, 1] + A[2, 2] + A[3, 3]
log_det | log_det(S) | 2 * (log(L[1, 1]) + log(L[2, 2]) + log(L[3, 3]))
log_determinant | log_determinant(S) | 2 * (log(L[1, 1]) + log(L[2, 2]) + log(L[3, 3]))
inverse | dot(inverse(S) * (S * v), w) | dot(v, w)
inverse_spd | dot(inverse_spd(S) * (S * v), w) | dot(v, w)
cholesky_decompose | cholesky_decompose(S)[3, 2] | L[3, 2]
mdivide_left | dot(mdivide_left(S, S * v), w) | dot(v, w)
mdivide_left_spd | dot(mdivide_left_spd(S, S * v), w) | dot(v, w)
mdivide_left_tri_low | dot(mdivide_left_tri_low(L, L * v), w) | dot(v, w)
rows | rows(v) * r | 3 * r
cols | cols(A) * r | 3 * r
num_elements | num_elements(A) * r | 9 * r
pi | pi() * r | 4 * atan(1) * r
e | e() * r | exp(1) * r
sqrt2 | sqrt2() * r | sqrt(2) * r
positive_infinity | fmin(positive_infinity(), r) | r
negative_infinity | fmax(negative_infinity(), r) | r
present | present(x[1]) * r + present(x[2]) * r | r
TABLE
}

declarations() {
  cat <<'MODEL'
  latent p : real<lower=0.5, upper=1.5> ~ uniform(0.5, 1.5);
  latent q : real<lower=0.5, upper=1.5> ~ uniform(0.5, 1.5);
  latent t : real<lower=0, upper=1> ~ uniform(0, 1);
  latent r ~ flat();  latent s ~ flat();
  latent v : vector[3] ~ flat();  latent w : vector[3] ~ flat();
  latent A : matrix[3, 3] ~ flat();
  latent d : vector<lower=0.5, upper=1.5>[3] ~ uniform(0.5, 1.5);
  let L = diag_pre_multiply(d, [[1.2, 0, 0], [0.3, 0.9, 0], [-0.4, 0.2, 1.1]]);
  let S = L * L';
MODEL
}

build_model() { # FILE: compiles a model into $work/run and says why not in $work/log
  name=$(basename "$1" .pgm)
  "$PGMC" "$1" --library -o "$work" >"$work/log" 2>&1 &&
    ${CC:-gcc} -std=gnu11 -O1 $PGMC_CFLAGS -I"$root/runtime" -DMODEL="$name" "$root/tests/e2e/kernels/kernels.c" "$work/lib$name.a" -o "$work/run" \
      -fopenmp -lgsl -ljansson -lz -lm >>"$work/log" 2>&1
}

cat >"$work/point.json" <<'EOT'
{"p": 0.8, "q": 1.3, "t": 0.37, "r": 0.45, "s": -0.7, "v": [0.4, -1.1, 0.9], "w": [1.3, 0.2, -0.5], "A": [[0.3, 1.2, -0.4], [0.8, -0.6, 0.1], [0.5, 0.7, 1.4]],
 "d": [0.9, 1.1, 0.7]}
EOT
echo '{"x": [1.5, null]}' >"$work/data.json"

names=$(sed -n 's/^FUNC(\([A-Za-z_0-9]*\),.*/\1/p' "$root/compiler/func.def")
for name in $names; do
  table | grep -q "^$name |" || fail "$name has no row"
done

# A few at a time: factors -|call - other words| at a point.
group=0
while mapfile -t rows < <(for name in $names; do table | grep "^$name |"; done | awk -v g=$group 'NR > 25 * g && NR <= 25 * (g + 1)') && [ ${#rows[@]} -gt 0 ]; do
  group=$((group + 1))
  {
    echo "model values$group { observed x[1] ~ flat(); observed x[2] ~ flat();"
    declarations
    for row in "${rows[@]}"; do IFS='|' read -r _ call other <<<"${row//||/}"; echo "  factor -abs($call - ($other));"; done
    echo "}"
  } >"$work/values$group.pgm"
  {
    echo "model kernels$group { observed x[1] ~ flat(); observed x[2] ~ flat();"
    declarations
    for row in "${rows[@]}"; do IFS='|' read -r name call _ <<<"$row"; echo "  factor normal_lpdf(0.3 | $call, 1.5);"; done
    echo "}"
  } >"$work/kernels$group.pgm"
  if build_model "$work/values$group.pgm" && "$work/run" grad "$work/data.json" --at "$work/point.json" --quiet >"$work/grad" 2>>"$work/log"; then
    # ten digits are left of the sum: which one it is shows the value of its factor
    if below "values of group $group" "$(calc "-1 * $(get "$work/grad" log_joint)")" 1e-10; then passed=$((passed + ${#rows[@]} - 1)); else printf '%s\n' "${rows[@]}"; fi
  else
    fail "values of group $group"
    grep -A2 error "$work/log" || tail -n 20 "$work/log"
  fi
  if build_model "$work/kernels$group.pgm" && "$work/run" grad "$work/data.json" --at "$work/point.json" --check --quiet >"$work/grad" 2>>"$work/log" &&
    "$work/run" kernels "$work/data.json" 1 >>"$work/log" 2>&1; then
    pass "kernels of group $group"
    passed=$((passed + ${#rows[@]} - 1))
  else
    fail "kernels of group $group"
    grep -A2 error "$work/log" || tail -n 20 "$work/log"
  fi
done
finish
