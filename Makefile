# pgmc: everything generated goes under build/.
#   make            compiler and runtime          make check    set up, build, test (under five minutes)
#   make demo       set up, build, three models   make asan     the tests under AddressSanitizer and UBSan
#   make experiments (experiments-published)       those of the literature: docs/experiments.md
#   make install PREFIX=... DESTDIR=... (uninstall)   make promote  accept the current diagnostics and dumps as golden files
#   make bench      times side by side with others
#   make tables     the reference's tables and the editors' grammars anew       make fuzz     libFuzzer on all passes and the data reader (clang)

CC      = gcc
FLEX    = flex
BISON   = bison
PREFIX  = /usr/local
B      ?= build
WARN    = -Wall -Wextra -Wshadow -Wstrict-prototypes
CFLAGS ?= -O2 -g
STD     = -std=gnu11
LIBS    = -lgsl -ljansson -lz -lm
GOMP   := $(filter /%,$(shell $(CC) -print-file-name=libgomp.a))
# What kernels are compiled with; docs/performance.md says why. The portable runtime leaves -march away.
KERNEL  = -O3 -fno-math-errno -fno-trapping-math -fno-builtin-sin -fno-builtin-cos -fopenmp -g
NATIVE  = -march=native -mprefer-vector-width=512
PACKAGES = gcc libc6-dev make flex bison libgsl-dev libopenblas-dev libjansson-dev zlib1g-dev libcmocka-dev

COMPILER_SRC := $(filter-out compiler/main.c,$(wildcard compiler/*.c))
RUNTIME_SRC  := $(wildcard runtime/*.c)
COMPILER_OBJ := $(COMPILER_SRC:%.c=$(B)/%.o) $(B)/grammar/pgm.tab.o $(B)/grammar/pgm.lex.o
RUNTIME_OBJ  := $(RUNTIME_SRC:%.c=$(B)/%.o)
PORTABLE_OBJ := $(RUNTIME_SRC:runtime/%.c=$(B)/portable/%.o)
UNIT_SRC     := $(wildcard tests/unit/*.c)
UNIT_BIN     := $(UNIT_SRC:tests/unit/%.c=$(B)/unit/%)

all: $(B)/pgmc $(B)/libpgmrt.a $(B)/libpgmrt-portable.a

# Of the runtime: hashes, special functions, and data files for check --data.
PGMC_RUNTIME = $(addprefix $(B)/runtime/,sha256.o special.o cdf.o data.o error.o)
$(B)/pgmc: $(B)/compiler/main.o $(COMPILER_OBJ) $(PGMC_RUNTIME)
	$(CC) $(CFLAGS) $(SAN) -fopenmp -o $@ $^ -ljansson -lz -lm
$(B)/libpgmrt.a: $(RUNTIME_OBJ)
	rm -f $@; ar rcs $@ $^
$(B)/libpgmrt-portable.a: $(PORTABLE_OBJ)
	rm -f $@; ar rcs $@ $^

$(B)/compiler/%.o: compiler/%.c $(B)/grammar/pgm.tab.h
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(CFLAGS) $(SAN) -MMD -Icompiler -Iruntime -I$(B)/grammar -DPGMC_LDFLAGS='"$(LDFLAGS)"' -DPGMC_GOMP='"$(GOMP)"' -c $< -o $@
$(B)/runtime/%.o: runtime/%.c
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(KERNEL) $(NATIVE) $(SAN) -MMD -Iruntime -c $< -o $@
$(B)/portable/%.o: runtime/%.c
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(KERNEL) $(SAN) -MMD -Iruntime -c $< -o $@
$(B)/grammar/pgm.tab.c $(B)/grammar/pgm.tab.h &: grammar/pgm.y
	@mkdir -p $(@D)
	$(BISON) -Wall -Werror -d -o $(B)/grammar/pgm.tab.c $<
$(B)/grammar/pgm.lex.c: grammar/pgm.l
	@mkdir -p $(@D)
	$(FLEX) -o $@ $<
$(B)/grammar/%.o: $(B)/grammar/%.c $(B)/grammar/pgm.tab.h
	$(CC) $(STD) -Wall -Wextra $(CFLAGS) $(SAN) -MMD -Icompiler -I$(B)/grammar -c $< -o $@
# Unit tests link what they name: tests of the compiler its objects, tests of the runtime the library.
$(B)/unit/%: tests/unit/%.c $(COMPILER_OBJ) $(B)/libpgmrt.a
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(CFLAGS) $(SAN) -fopenmp -MMD -Icompiler -Iruntime -I$(B)/grammar $< -o $@ $(LDFLAGS) $(COMPILER_OBJ) $(B)/libpgmrt.a -lcmocka $(LIBS)

# What is printed from the tables of words, functions and distributions.
$(B)/tables: grammar/tables.c $(addprefix $(B)/compiler/,dist.o func.o base.o)
	$(CC) $(STD) $(WARN) $(CFLAGS) $(SAN) -MMD -Icompiler $(filter %.c %.o,$^) -o $@
tables: $(B)/tables
	$< reference docs/language.md >$(B)/language.md && cp $(B)/language.md docs/language.md
	$< vim >editors/vim/syntax/pgm.vim
	$< textmate >editors/vscode/syntaxes/pgm.tmLanguage.json

# The oracle of the analysis (tests/analysis); and a copy of the analysis with mistakes that can be switched on, one at a time, to see them caught.
ORACLE_OBJ = $(patsubst tests/analysis/%.c,$(B)/analysis/%.o,$(wildcard tests/analysis/*.c))
$(B)/analysis/%.o: tests/analysis/%.c $(B)/grammar/pgm.tab.h
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(CFLAGS) $(SAN) -MMD -Icompiler -Iruntime -I$(B)/grammar -c $< -o $@
$(B)/unit/test_analysis_oracle: tests/unit/test_analysis_oracle.c $(ORACLE_OBJ) $(COMPILER_OBJ) $(B)/libpgmrt.a
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(CFLAGS) $(SAN) -fopenmp -MMD -Icompiler -Iruntime -I$(B)/grammar $< -o $@ $(LDFLAGS) $(ORACLE_OBJ) $(COMPILER_OBJ) $(B)/libpgmrt.a -lcmocka $(LIBS)

# ---- tests ----------------------------------------------------------------------------------------------------------------------------------
E2E_SRC := $(wildcard tests/e2e/*.c)
E2E_BIN := $(E2E_SRC:tests/e2e/%.c=$(B)/e2e/%)
# Helpers of the end-to-end tests: they read results and compute references on their own, without the project's code.
$(B)/e2e/%: tests/e2e/%.c
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(CFLAGS) $(SAN) -MMD $< -o $@ $(LDFLAGS) $(LIBS)

tests-built: all $(UNIT_BIN) $(E2E_BIN) $(B)/tables
unit: all $(UNIT_BIN)
	tests/run.sh $(B) test_
check: deps
	@$(MAKE) --no-print-directory -s -j$$(nproc) tests-built
	@tests/run.sh $(B)
check-long: deps
	@$(MAKE) --no-print-directory -s -j$$(nproc) tests-built
	@LONG=1 tests/run.sh $(B)
promote: all
	-tests/bad.sh $(B)/pgmc --promote
	-tests/good.sh $(B)/pgmc --promote
# Everything under AddressSanitizer and UBSan, compiled models too.
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
asan: deps
	@$(MAKE) --no-print-directory -s -j$$(nproc) B=$(B)-asan CFLAGS='-O1 -g' SAN='$(SANITIZE)' tests-built
	@PGMC_CFLAGS='$(SANITIZE) -O1 -g' tests/run.sh $(B)-asan

# New inputs go to $(B)/fuzz; one that found a mistake belongs into tests/fuzz/corpus, which the tests run.
FUZZ_CC       = clang
FUZZ_SECONDS ?= 60
FUZZ_FLAGS    = $(STD) -g -O1 $(SANITIZE) -fsanitize=fuzzer
FUZZ_FRONT   := $(addprefix compiler/,$(addsuffix .c,ast base diag dist func habit lint model range rdist recurrence resolve rexpr wellformed))
FUZZ_RUN      = -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2500 -artifact_prefix=$(B)/fuzz/
$(B)/fuzz/front: tests/fuzz/fuzz_front.c $(FUZZ_FRONT) $(B)/grammar/pgm.tab.c $(B)/grammar/pgm.lex.c
	@mkdir -p $(@D)/found-front
	$(FUZZ_CC) $(FUZZ_FLAGS) -Icompiler -I$(B)/grammar $^ -o $@ -lm
# Without those that need files or a C compiler.
FUZZ_WHOLE   := $(filter-out compiler/main.c compiler/driver.c compiler/header.c,$(wildcard compiler/*.c)) $(addprefix runtime/,special.c cdf.c data.c error.c)
$(B)/fuzz/whole: tests/fuzz/fuzz_whole.c $(FUZZ_WHOLE) $(B)/grammar/pgm.tab.c $(B)/grammar/pgm.lex.c
	@mkdir -p $(@D)/found-whole
	$(FUZZ_CC) $(FUZZ_FLAGS) -Icompiler -Iruntime -I$(B)/grammar $^ -o $@ -ljansson -lz -lm
$(B)/fuzz/data: tests/fuzz/fuzz_data.c runtime/data.c runtime/error.c
	@mkdir -p $(@D)/found-data
	$(FUZZ_CC) $(FUZZ_FLAGS) -Iruntime $^ -o $@ -ljansson -lz -lm
fuzz: $(B)/fuzz/front $(B)/fuzz/whole $(B)/fuzz/data $(B)/tables
	$(B)/tables words >$(B)/fuzz/words
	$(B)/fuzz/front $(FUZZ_RUN) -max_len=8192 -dict=$(B)/fuzz/words $(B)/fuzz/found-front tests/fuzz/corpus tests/bad tests/good
	$(B)/fuzz/whole $(FUZZ_RUN) -max_len=2048 -dict=$(B)/fuzz/words $(B)/fuzz/found-whole tests/fuzz/corpus tests/good
	$(B)/fuzz/data $(FUZZ_RUN) -max_len=1024 $(B)/fuzz/found-data

# What building needs, from Debian; at once when it is there. Elsewhere it only says what to install.
deps:
	@missing=$$(for p in $(PACKAGES); do \
	  [ "$$(dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || printf ' %s' $$p; done); \
	[ -n "$$missing" ] || exit 0; \
	if ! command -v apt-get >/dev/null; then echo "make deps: not Debian; install what these packages hold:$$missing" >&2; exit 0; fi; \
	as=; if [ "$$(id -u)" != 0 ]; then \
	  as=sudo; command -v sudo >/dev/null || { echo "make deps: run as root: apt-get install$$missing" >&2; exit 1; }; fi; \
	echo "installing$$missing"; \
	$$as apt-get update -qq && $$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null

# ---- experiments: docs/experiments.md ---------------------------------------------------------------------------------------------------------
# By the tool's own optimisers (four minutes of a processor); by the published one (two hours and three quarters of a processor), then the networks on images (hours for each of
# NETWORK_SEEDS). What was stopped goes on where it was, and no run begins after MINUTES for each model. make experiments-keep: their tables and small pictures into experiments/results.
SEEDS ?= 10
NETWORK_SEEDS ?= 1
MINUTES ?= 100000
E := $(B)/experiments
experiments: all
	experiments/margossian_blei/run.sh --seeds $(SEEDS) --out $(E)/margossian_blei $(B)/pgmc
	experiments/conditioning/run.sh --out $(E)/conditioning $(B)/pgmc
experiments-published: all
	experiments/margossian_blei/run.sh --only published --seeds $(SEEDS) --minutes $(MINUTES) --out $(E)/margossian_blei $(B)/pgmc
	experiments/margossian_blei/run.sh --only network --seeds $(NETWORK_SEEDS) --minutes $(MINUTES) --out $(E)/margossian_blei $(B)/pgmc
	experiments/autoencoder/run.sh --out $(E)/autoencoder $(B)/pgmc
experiments-keep:
	for d in margossian_blei conditioning autoencoder; do \
	  mkdir -p experiments/results/$$d; \
	  for f in $(E)/$$d/*.csv $$(find $(E)/$$d -maxdepth 1 -name '*.svg' -size -60k); do [ ! -e $$f ] || cp $$f experiments/results/$$d/; done; \
	done

# Times side by side with what else there is: bench/run.sh, docs/performance.md. ROUNDS: how often.
ROUNDS ?= 5
bench: all
	@bench/run.sh --rounds $(ROUNDS) $(B)

# make again, because what make looks up when it starts may have come with the packages
demo: deps
	@$(MAKE) --no-print-directory -s -j$$(nproc) all
	@examples/demo.sh $(B)/pgmc $(B)/demo

BIN     = $(DESTDIR)$(PREFIX)/bin
LIB     = $(DESTDIR)$(PREFIX)/lib/pgmc
INCLUDE = $(DESTDIR)$(PREFIX)/include/pgmc
MAN     = $(DESTDIR)$(PREFIX)/share/man/man1
COMPLETION = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
# what emitted code and NAME.h are made of; the other headers are the runtime's own
HEADERS = pgmrt.h pgm_math.h pgm_draw.h pgm_emit.h blas.h pgm.h error.h

install: all
	install -d $(BIN) $(LIB) $(INCLUDE) $(MAN) $(COMPLETION)
	install -m 755 $(B)/pgmc $(BIN)
	install -m 644 $(B)/libpgmrt.a $(B)/libpgmrt-portable.a $(LIB)
	install -m 644 $(HEADERS:%=runtime/%) $(INCLUDE)
	install -m 644 docs/man/pgmc.1 docs/man/pgmc-program.1 $(MAN)
	install -m 644 docs/completion/pgmc.bash $(COMPLETION)/pgmc
uninstall:
	rm -f $(BIN)/pgmc $(MAN)/pgmc.1 $(MAN)/pgmc-program.1 $(COMPLETION)/pgmc
	rm -rf $(LIB) $(INCLUDE)

clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.PHONY: bench experiments experiments-published experiments-keep all check check-long demo deps fuzz tables asan install promote clean unit tests-built uninstall
.SECONDARY:
