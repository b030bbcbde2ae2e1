/* The command line of a compiled model: what the commands share. Runtime-internal; one file command_NAME.c per command. */
#ifndef PGM_CLI_H
#define PGM_CLI_H

#include <stdio.h>
#include "atomic.h"
#include "fit.h"
#include "json_out.h"
#include "pgmrt.h"

/* Everything that the options of all commands can say; what was not given is NULL, 0 or false. */
typedef struct {
  const PgmModel *model;
  const char *program, *command; /* "saw", "fit" */
  PgmError error;
  PgmData *data;        /* of --data, --set and the operands that are data files */
  const char *fit_file; /* first operand of infer, sample, predict */
  bool json, quiet, log_lik, check;
  const char *format, *out, *truth, *at, *latent;
  long draws;
  /* fit */
  PgmFitOptions fit; /* threads and seed too, for every command */
  unsigned given;    /* GIVEN_..., to find contradictions */
  const char *init, *trace, *checkpoint, *resume;
  /* gap: lists of --hidden and --degree, --window A..B */
  const char *hidden_list, *degree_list, *window_range, *test, *per_observation, *fix, *html;
  long seeds;
} PgmCli;

enum {
  GIVEN_METHOD = 1,
  GIVEN_HIDDEN = 2,
  GIVEN_ACTIVATION = 4,
  GIVEN_SKIP = 8,
  GIVEN_DEGREE = 16,
  GIVEN_INPUTS = 32,
  GIVEN_WINDOW = 64,
  GIVEN_EXPECTATION = 128,
  GIVEN_SAMPLES = 256,
  GIVEN_OPTIMIZER = 512,
  GIVEN_STEP = 1024,
  GIVEN_BATCH = 2048,
  GIVEN_EVERY = 4096,
  GIVEN_NETWORK = GIVEN_HIDDEN | GIVEN_ACTIVATION | GIVEN_SKIP | GIVEN_DEGREE | GIVEN_INPUTS | GIVEN_WINDOW
};

/* The commands: each returns the exit status and has printed what there is to say. */
int pgm_command_check(PgmCli *cli);
int pgm_command_simulate(PgmCli *cli);
int pgm_command_fit(PgmCli *cli);
int pgm_command_gap(PgmCli *cli);
int pgm_command_infer(PgmCli *cli);
int pgm_command_sample(PgmCli *cli);
int pgm_command_predict(PgmCli *cli);
int pgm_command_grad(PgmCli *cli);

/* Exit 2 where options contradict each other; 0 otherwise. */
int pgm_prepare_fit(PgmCli *cli);
int pgm_prepare_gap(PgmCli *cli);
int pgm_prepare_infer(PgmCli *cli);
int pgm_prepare_draws(PgmCli *cli);

/* "16,16" -> fit->hidden and n_hidden */
bool pgm_cli_parse_hidden(const char *text, PgmFitOptions *fit);

/* Reads FILE, or the array NAME of NAME=FILE, into `data`. */
PgmStatus pgm_cli_read_data(PgmCli *cli, const char *text, PgmData *data);

/* Prints cli->error and returns the exit status that goes with it. */
int pgm_cli_fail(PgmCli *cli);
int pgm_cli_usage_error(PgmCli *cli, const char *format, ...) __attribute__((format(printf, 2, 3))); /* 2 */
void pgm_cli_note(const PgmCli *cli, const char *format, ...) __attribute__((format(printf, 2, 3))); /* unless --quiet */
void pgm_cli_warn(const PgmCli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A session on cli->data; says what the data decided. */
PgmStatus pgm_cli_session(PgmCli *cli, bool for_simulate, PgmSession **s);

/* A result: the file `path`, atomically, or standard output where `path` is NULL or "-". An interrupt removes what is half written. */
PgmStatus pgm_cli_output_open(PgmCli *cli, const char *path, PgmAtomicFile *f);
PgmStatus pgm_cli_output_close(PgmCli *cli, PgmAtomicFile *f);
void pgm_cli_output_discard(PgmAtomicFile *f);

/* pgm_fit_write, not to be interrupted. */
PgmStatus pgm_cli_write_fit(PgmCli *cli, const PgmFit *fit, const char *path);

/* From here on SIGINT and SIGTERM are noted, not obeyed (a second one is obeyed, unless a file is being written); or, with false, obeyed, one that was
 * noted at once: the program ends, and no file is half-written. */
void pgm_cli_defer_signals(bool defer);
int pgm_cli_signal(void); /* the signal noted, or 0 */

/* ---- values of families (cli_values.c) ------------------------------------------------------------------------------------------------ */

/* Is this a family of q: global, local or param (pgm_is_latent), or one that is drawn beside it: pruned. */
bool pgm_cli_is_drawn(const PgmFamily *f);

/* Writes the elements that data files hold of this family (all but single elements with a default) as nested arrays; undefined ones are null.
 * `value` in the layout of the family, or NULL: the session's data. */
void pgm_cli_json_family(PgmJson *j, const PgmSession *s, int family, const double *value);
/* The same for arrays of the family's box: means, gradients. */
void pgm_cli_json_box(PgmJson *j, const char *key, const PgmSession *s, int family, const double *value);

/* Reads the family's values from an array of its name into `value`; false in *found when the data have none. */
PgmStatus pgm_cli_read_family(PgmCli *cli, const PgmSession *s, const PgmData *data, int family, double *value, bool *found);

/* Columns of a Stan CSV: entries of a family in column-major order of (indices, dimensions), all counted from 1. */
/* "z.1,z.2", after a comma unless `first` */
void pgm_cli_print_columns(FILE *out, const PgmSession *s, int family, bool first);
/* "0.3,1.2": `value`, or the session's data when it is NULL */
void pgm_cli_print_values(FILE *out, const PgmSession *s, int family, const double *value, bool first);

/* ---- draws from q (cli_draws.c) --------------------------------------------------------------------------------------------------------- */

typedef struct PgmDraws PgmDraws;
/* The session's factors must have been filled (pgm_fit_apply). */
PgmStatus pgm_cli_draws_open(PgmCli *cli, PgmSession *s, PgmDraws **out);
/* Draw number `i` of the latent and param families into the layouts' values, pruned ones too. `log_p`: log joint with the Jacobian of the
 * transforms, `log_g`: log density of q, both on the unconstrained scale; NULL where not asked for. `observed`: draws these too. */
PgmStatus pgm_cli_draw(PgmDraws *d, long i, bool observed, double *log_p, double *log_g);
void pgm_cli_draws_close(PgmDraws *d);

#endif
