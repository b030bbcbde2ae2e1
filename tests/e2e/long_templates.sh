#!/bin/bash
# The analysis of 12000 random templates against the oracle, which solves each as a linear-Gaussian model (tests/analysis): about a minute.
. "$(dirname "$0")/lib.sh"
cd "$root" || exit 3
check "random templates 1..12000" "$B/unit/test_analysis_oracle" 1 12000
grep ' models: ' "$work/check.log"
finish
