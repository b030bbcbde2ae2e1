#!/bin/bash
# Mistakes made on purpose in the analysis, one at a time, must be caught: by the oracle of linear-Gaussian models or the self-check on a grounded
# model (test_analysis_oracle), or else by the golden verdicts. A mistake is an exact text of a source file and what stands in its place; a text that
# is not there exactly once is a failure too, so the list cannot go stale. The sources as they are must pass.
. "$(dirname "$0")/lib.sh"
shopt -u patsub_replacement 2>/dev/null
objects=("$B"/compiler/*.o "$B"/grammar/pgm.tab.o "$B"/grammar/pgm.lex.o)
flags=(-std=gnu11 -O1 -w -I"$root/compiler" -I"$root/runtime" -I"$B/grammar")
cd "$root" || exit 3
only=${1:-}                             # an argument: those mistakes alone whose names contain it
libs=$(sed -n 's/^LIBS *= *//p' Makefile)

# The test with one object replaced (FILE.c of compiler/; none: as it is), then pgmc the same way.
build() {
  local others=() o
  for o in "${objects[@]}"; do
    case ${o##*/} in main.o | "${1%.c}.o") ;; *) others+=("$o") ;; esac
  done
  [ -n "$1" ] && { gcc "${flags[@]}" -c "$work/$1" -o "$work/mutant.o" || return; others+=("$work/mutant.o"); }
  gcc "${flags[@]}" -fopenmp "tests/unit/test_analysis_oracle.c" "$B"/analysis/*.o "${others[@]}" "$B/libpgmrt.a" -o "$work/oracle" \
    -lcmocka $libs 2>"$work/link" && gcc -fopenmp "$B/compiler/main.o" "${others[@]}" "$B/libpgmrt.a" -o "$work/pgmc" $libs 2>>"$work/link"
}

caught() { # who finds a mistake: prints it; status 1 when nobody does
  if ! "$work/oracle" >"$work/out" 2>"$work/err"; then
    if grep -q 'internal error' "$work/err"; then echo self-check; else echo oracle; fi
  elif ! tests/good.sh "$work/pgmc" >"$work/out" 2>&1; then echo golden verdicts
  else return 1
  fi
}

mutant() { # NAME FILE OLD NEW
  local text by
  [[ $1 == *"$only"* ]] || return
  text=$(<"compiler/$2")
  if [[ $text != *"$3"* || ${text#*"$3"} == *"$3"* ]]; then fail "$1: the text to change is not in $2 exactly once"; return; fi
  printf '%s\n' "${text/"$3"/"$4"}" >"$work/$2"
  build "$2" || { fail "$1: does not compile"; head -5 "$work/link"; return; }
  if by=$(caught); then pass "$1: caught by the $by"; else fail "$1: not caught"; fi
}

build "" || { cat "$work/link"; fail "the sources as they are: not built"; finish; }
by=$(caught) && { fail "the sources as they are: refused by the $by"; tail -20 "$work/err" "$work/out"; } || pass "the sources as they are"

mutant "a dropped offset" coupling.c 'return at_shift(at_times(vars[k], coef), rest, 1);' 'return at_times(vars[k], coef);'
mutant "an offset of the wrong sign" coupling.c 'at_times(at_shift(at[p], rest, -1), coef)' 'at_times(at_shift(at[p], rest, 1), coef)'
mutant "a hub treated as a constant" coupling.c '      reach_family(w, ref->family, ref->n, at, node, r);' \
  '      for (int p = 0; p < ref->n; p++) if (at[p].kind == AT_ABS) goto next;
      reach_family(w, ref->family, ref->n, at, node, r);
    next:;'
mutant "a lookup treated as affine" coupling.c '  bool over_set = false;
  for (int i = 0; i < n; i++) {' '  bool over_set = false;
  if (n == 1 && args[0].kind == AT_UNIT) return at_shift(args[0], ix->lin, 1);
  for (int i = 0; i < n; i++) {'
mutant "a barren variable kept" barren.c '    for (int k = 0; k < barren.n; k++) put_piece(g, t, value, &barren.at[k], true);' \
  '    for (int k = 0; k < barren.n; k++) put_piece(g, t, value, &barren.at[k], false);'
mutant "a variable with observed descendants pruned" barren.c '    if (!cut(&w, t, value, &used, &barren)) {' '    if (!cut(&w, t, value, &used, &barren) || (used.n == 1 && t->refs.n > 1 && (used = barren, barren = (RangeList){0}, 1))) {'
mutant "a boundary ignored" coupling.c '  VEC_PUSH(c->boundary, *box);' '  (void)box;'
mutant "the ranges of terms ignored" coupling.c '  if (!fits(w, t, vars, ref, at, &ref->guard, from)) return false;' ''
mutant "conditions on references ignored" coupling.c 'if (r != from_ref && ref->guard.n && !fits(' 'if (0 && !fits('
mutant "a cycle with a net offset ignored" coupling.c '  VEC_PUSH(c->generators, e);
  return freed;' '  return freed;'
mutant "a plate that a family lacks taken for the unit's own" coupling.c '    if (!known[k] && !vars[k].lo) vars[k] = at_free();' ''
mutant "every lattice taken for a whole axis" periodic.c '  long e[MAX_AXES] = {0};' '  long e[MAX_AXES] = {0};
  for (int r = 0; r < l->rank; r++) if (l->row[r][axis]) return true;'
mutant "a running sum taken for a total" periodic.c '  if (c->prefix) c->cyclic = true;' ''
mutant "a chain through a set taken for a set" coupling.c '  find_order(w);
  find_mirrors(w);' '  find_mirrors(w);'
mutant "a mirrored index ignored" coupling.c '  find_order(w);
  find_mirrors(w);' '  find_order(w);'
mutant "strides taken for offsets" residues.c '  if (!any) return;' '  return;'
mutant "known inputs left out" verdict.c '  bool tied = e->plate_free;' '  return false;
  bool tied = e->plate_free;'
mutant "shared known values taken for inputs" verdict.c '  share_known(j, c);' ''
mutant "shared known values that do not tell members apart" verdict.c "if (e->at[p].kind == AT_FREE) slot_axes(" "if (0) slot_axes("
mutant "indexed globals that do not tell members apart" coupling.c ' == t->vars[k]) c->slotted[axis_of_var(w->axes, t->vars[k])] = true;' ' == t->vars[k]) continue;'
mutant "the own member of a set unmarked" verdict.c '    if (raw.tied) VEC_PUSH(*out, raw);' ''
mutant "a multiplier forgotten by the scale" verdict.c '      if (!degree(w, e->args[i])) mark_refs(w, e->args[i]);' '      (void)w;'
mutant "a number of terms forgotten by the scale" verdict.c '      if (!counts_alike(&t->refs.at[x->ref].ix[p])) put_index(j, c, p, out);' ''
mutant "members of a set by the wrong offset" verdict.c '      member.off = lin_add(member.off, mine.off, -1);' ''
mutant "pinned parameters forgotten" verdict.c '  if (e->pinned || !input_element(j->m, e->family, e)) return true;' '  if (e->pinned) return false;
  if (!input_element(j->m, e->family, e)) return true;'
mutant "hubs kept for this data set" coupling.c '  if (!has_total(w, ref) && !(term & ~element)) return false;' '  return false;'
finish
