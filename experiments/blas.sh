# Sourced by the experiments that multiply matrices: Debian 12's OpenBLAS takes an AMD processor with AVX-512 for one without, which costs half its speed
# (examples/fashion_mnist/README.md).
if [ -z "${OPENBLAS_CORETYPE:-}" ] && grep -q AuthenticAMD /proc/cpuinfo && grep -qw avx512dq /proc/cpuinfo; then
  export OPENBLAS_CORETYPE=SKYLAKEX
fi
