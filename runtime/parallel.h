/* Loops over numbers on several threads, with the same bits for any number of them.
 *
 * A loop is cut into pieces of one size, never into as many as there are threads: at the end of a piece the compiler's vector code hands over to
 * scalar code, and the vector functions of libmvec (exp, log) differ from the scalar ones in the last bits. Where a cut lies must therefore not
 * depend on the number of threads. Sums are formed piece by piece and added in order. */
#ifndef PGM_PARALLEL_H
#define PGM_PARALLEL_H

enum {
  PGM_PARALLEL = 32768, /* numbers below which a team costs more than it saves, above all on a machine that has other things to do */
  PGM_PIECE = 4096
};

/* Runs the statements for pieces [from, to) of [0, n). A loop of few numbers does without OpenMP, which sets up a team even of one thread; whether it
 * does depends on n alone, since the compiler may make different code of the two. */
// clang-format off
#define PGM_PIECES(n, threads, from, to, ...)                                                                                            \
  do {                                                                                                                                   \
    const long pieces_n_ = (n);                                                                                                          \
    if (pieces_n_ <= PGM_PARALLEL) {                                                                                                     \
      for (long from = 0; from < pieces_n_; from += PGM_PIECE) {                                                                         \
        const long to = from + PGM_PIECE < pieces_n_ ? from + PGM_PIECE : pieces_n_;                                                     \
        __VA_ARGS__                                                                                                                      \
      }                                                                                                                                  \
      break;                                                                                                                             \
    }                                                                                                                                    \
    const int team_ = (threads);                                                                                                         \
    _Pragma("omp parallel for schedule(static) num_threads(team_) if (team_ > 1)")                                                       \
    for (long piece_ = 0; piece_ < (pieces_n_ + PGM_PIECE - 1) / PGM_PIECE; piece_++) {                                                  \
      const long from = piece_ * PGM_PIECE, to = from + PGM_PIECE < pieces_n_ ? from + PGM_PIECE : pieces_n_;                            \
      __VA_ARGS__                                                                                                                        \
    }                                                                                                                                    \
  } while (0)
// clang-format on

#endif
