# pgmc: everything generated goes under build/.
#   make            compiler and runtime          make check    set up, build, test (under five minutes)
#   make demo       set up, build, three models   make asan     the tests under AddressSanitizer and UBSan
#   make install PREFIX=...                       make promote  accept the current diagnostics and dumps as golden files

CC      = gcc
FLEX    = flex
BISON   = bison
PREFIX  = /usr/local
B      ?= build
WARN    = -Wall -Wextra -Wshadow -Wstrict-prototypes
CFLAGS ?= -O2 -g
STD     = -std=gnu11
LIBS    = -lgsl -lopenblas -ljansson -lz -lm
# Debian keeps the one-thread OpenBLAS beside the threaded one; the runtime brings its own threads.
BLAS_DIR := $(firstword $(wildcard /usr/lib/*/openblas-serial))
LDFLAGS += $(if $(BLAS_DIR),-L$(BLAS_DIR))
# What kernels are compiled with; docs/performance.md says why. The portable runtime leaves -march away.
KERNEL  = -O3 -fno-math-errno -fno-trapping-math -fno-builtin-sin -fno-builtin-cos -fopenmp -g
NATIVE  = -march=native -mprefer-vector-width=512
PACKAGES = gcc make flex bison libgsl-dev libopenblas-serial-dev libjansson-dev zlib1g-dev libcmocka-dev

COMPILER_SRC := $(filter-out compiler/main.c,$(wildcard compiler/*.c))
RUNTIME_SRC  := $(wildcard runtime/*.c)
COMPILER_OBJ := $(COMPILER_SRC:%.c=$(B)/%.o) $(B)/grammar/pgm.tab.o $(B)/grammar/pgm.lex.o
RUNTIME_OBJ  := $(RUNTIME_SRC:%.c=$(B)/%.o)
PORTABLE_OBJ := $(RUNTIME_SRC:runtime/%.c=$(B)/portable/%.o)
UNIT_SRC     := $(wildcard tests/unit/*.c)
UNIT_BIN     := $(UNIT_SRC:tests/unit/%.c=$(B)/unit/%)

all: $(B)/pgmc $(B)/libpgmrt.a $(B)/libpgmrt-portable.a

$(B)/pgmc: $(B)/compiler/main.o $(COMPILER_OBJ) $(B)/runtime/sha256.o
	$(CC) $(CFLAGS) $(SAN) -o $@ $^ -lm
$(B)/libpgmrt.a: $(RUNTIME_OBJ)
	rm -f $@; ar rcs $@ $^
$(B)/libpgmrt-portable.a: $(PORTABLE_OBJ)
	rm -f $@; ar rcs $@ $^

$(B)/compiler/%.o: compiler/%.c $(B)/grammar/pgm.tab.h
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(CFLAGS) $(SAN) -MMD -Icompiler -Iruntime -I$(B)/grammar -DPGMC_LDFLAGS='"$(LDFLAGS)"' -c $< -o $@
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

clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.PHONY: all check demo deps asan install promote clean unit
.SECONDARY:
