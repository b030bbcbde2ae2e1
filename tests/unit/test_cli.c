/* The command line on the saw model of fixture_saw.h: each command runs in a process of its own, as a user would run it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "fit.h"
#include "fixture_saw.h"

static char directory[64], origin[4096];
static char out[1 << 23], err[1 << 16];

static void read_text(const char *name, char *text, size_t size)
{
  FILE *in = fopen(name, "r");
  assert_non_null(in);
  text[fread(text, 1, size - 1, in)] = '\0';
  fclose(in);
}

static void write_text(const char *name, const char *text)
{
  FILE *file = fopen(name, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static pid_t start(const char *arguments)
{
  pid_t child = fork();
  if (child) return child;
  char *argv[64] = {(char *)"./saw"}, *text = strdup(arguments), *rest = text;
  int argc = 1;
  for (char *word; (word = strsep(&rest, " "));) argv[argc++] = word;
  if (!*arguments) argc = 1;
  argv[argc] = NULL;
  freopen(".out", "w", stdout);
  freopen(".err", "w", stderr);
  int status = pgm_main(argc, argv, &saw_model);
  fflush(NULL);
  free(text);
  exit(status); /* not _exit: leaks are looked for then */
}

static int finish(pid_t child)
{
  int status;
  waitpid(child, &status, 0);
  read_text(".out", out, sizeof out);
  read_text(".err", err, sizeof err);
  if (!WIFEXITED(status)) fail_msg("killed by signal %d; %s", WTERMSIG(status), err);
  return WEXITSTATUS(status);
}

/* Runs "./saw ARGUMENTS" (words separated by one blank); leaves its output in `out` and `err`. */
static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *format, ...)
{
  char arguments[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(arguments, sizeof arguments, format, args);
  va_end(args);
  return finish(start(arguments));
}

static void expect(int status, int wanted)
{
  if (status != wanted) fail_msg("status %d, not %d: %s", status, wanted, err);
}

static void assert_in(const char *text, const char *part)
{
  if (!strstr(text, part)) fail_msg("'%s' is not in: %s", part, text);
}

static json_t *parse(const char *text)
{
  json_error_t problem;
  json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
  if (!root) fail_msg("%s: %s", problem.text, text);
  return root;
}

static double number(const json_t *root, const char *key)
{
  const json_t *value = json_object_get(root, key);
  if (!json_is_number(value)) fail_msg("%s is no number", key);
  return json_number_value(value);
}

static int visible_files(void)
{
  int n = 0;
  DIR *d = opendir(".");
  for (const struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

static void remove_files(void)
{
  DIR *d = opendir(".");
  for (const struct dirent *e; (e = readdir(d));) {
    if (e->d_type == DT_REG || e->d_type == DT_LNK) unlink(e->d_name);
    if (e->d_type == DT_DIR && e->d_name[0] != '.') rmdir(e->d_name);
  }
  closedir(d);
}

static int open_directory(void **state)
{
  (void)state;
  strcpy(directory, "/tmp/pgm_cli_XXXXXX");
  return getcwd(origin, sizeof origin) && mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

static int close_directory(void **state)
{
  (void)state;
  remove_files();
  return chdir(origin) == 0 && rmdir(directory) == 0 ? 0 : -1;
}

/* data.json and truth.json of 200 observations, saw.fit by A-VI */
static void simulate_and_fit(void)
{
  expect(run("simulate --set N=200 --set theta=3.4 --seed 7 --out data.json --truth truth.json"), 0);
  expect(run("fit data.json --method avi --hidden 4 --out saw.fit --quiet"), 0);
}

/* ---- help, usage ----------------------------------------------------------------------------------------------------------------------------------------- */

static void test_help(void **state)
{
  (void)state;
  static const char *const commands[] = {"check", "simulate", "fit", "infer", "sample", "predict", "grad"};
  expect(run("--help"), 0);
  for (int i = 0; i < 7; i++) assert_in(out, commands[i]);
  expect(run("--version"), 0);
  assert_in(out, "saw, compiled by pgmc");
  for (int i = 0; i < 7; i++) {
    expect(run("%s --help", commands[i]), 0);
    assert_in(out, "usage: saw ");
    assert_in(out, "--data");
    assert_string_equal(err, "");
  }
}

static void expect_usage(const char *arguments, const char *message)
{
  expect(run("%s", arguments), 2);
  assert_in(err, message);
  assert_string_equal(out, "");
}

static void test_usage_errors(void **state)
{
  (void)state;
  write_text("data.json", "{\"x\": [1, 2, 3]}");
  expect_usage("", "usage");
  expect_usage("fitt data.json", "did you mean 'fit'?");
  expect_usage("fit data.json --methd avi", "did you mean --method?");
  expect_usage("fit data.json --method", "wants an argument");
  expect_usage("fit data.json --quiet=1", "takes no argument");
  expect_usage("fit data.json -x", "no option -x");
  expect_usage("fit data.json --method vi", "--method wants fvi|const|avi, not 'vi'");
  expect_usage("fit data.json --hidden 4,,4", "--hidden wants");
  expect_usage("fit data.json --hidden 0", "--hidden wants");
  expect_usage("fit data.json --hidden 4;8", "--hidden wants");
  expect_usage("fit data.json --seed -1", "--seed wants");
  expect_usage("fit data.json --threads 0", "--threads wants");
  expect_usage("fit data.json --tol x", "--tol wants");
  expect_usage("fit data.json --window x", "--window wants");
  expect_usage("fit data.json --degree 2 --hidden 4", "--degree asks for a polynomial");
  expect_usage("fit data.json --degree 2 --activation relu", "--degree asks for a polynomial");
  expect_usage("fit data.json --optimizer lbfgs --batch 10", "--batch needs --optimizer adam");
  expect_usage("fit data.json --optimizer profile --step 0.1", "--step is for --optimizer adam");
  expect_usage("fit data.json --optimizer lbfgs --expectation monte-carlo", "monte-carlo needs --optimizer adam");
  expect_usage("fit data.json --expectation exact --samples 10", "--samples does not go with");
  expect_usage("fit data.json --method fvi --hidden 4", "are for --method avi, not fvi");
  expect_usage("fit data.json --method const --window 1", "are for --method avi, not const");
  expect_usage("fit data.json --resume a.fit --hidden 4", "--resume takes");
  expect_usage("fit data.json --resume a.fit --method fvi", "--resume takes");
  expect_usage("fit data.json --resume a.fit --init b.fit", "both say where to start");
  expect_usage("fit data.json --every 3", "--every says");
  expect_usage("fit data.json --window 1 --inputs z=x[n] --window z=1", "given twice");
  expect_usage("fit data.json --window 1 --window 2", "given twice");
  expect_usage("infer", "it wants a fit");
  expect_usage("sample", "it wants a fit");
  expect_usage("sample a.fit data.json --json", "--out FILE");
  expect_usage("infer a.fit data.json --json", "--out FILE");
  expect_usage("check --format xml", "--format wants");
}

static void test_io_errors(void **state)
{
  (void)state;
  write_text("data.json", "{\"x\": [1, 2, 3]}");
  expect(run("fit nothing.json"), 3);
  assert_in(err, "nothing.json: ");
  mkdir("folder", 0777);
  expect(run("fit folder"), 3);
  assert_in(err, "folder: ");
  expect(run("fit data.json --out nowhere/saw.fit"), 3);
  assert_in(err, "nowhere/saw.fit: No such file or directory");
  expect(run("fit data.json --out folder"), 3);
  expect(run("infer nothing.fit data.json"), 3);
  assert_in(err, "nothing.fit: No such file or directory");
  expect(run("infer data.json data.json"), 1);
  assert_in(err, "data.json: no fit");
  expect(run("simulate --set N=10 --out /dev/full"), 3);
  assert_in(err, "/dev/full: No space left on device");
  assert_int_equal(visible_files(), 2);
}

/* ---- data errors: status 1, the place, nothing written ------------------------------------------------------------------------------------------------------ */

static void test_bad_data(void **state)
{
  static const struct {
    const char *data, *place;
  } bad[] = {
      {"{\"x\": [1, 2, \"a\"]}", "data.json: x[3]"},
      {"{\"x\": [1, [2]]}", "data.json: x"},
      {"{\"x\": [1, 2], \"N\": 3}", "data.json: x"},
      {"{\"x\": [1, 2], \"N\": 2.5}", "data.json: N"},
      {"{\"x\": [1, 2", "data.json"},
      {"{\"x\": [1], \"x\": [2]}", "data.json"},
      {"{}", "'N' is not in data.json"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    write_text("data.json", bad[i].data);
    expect(run("fit data.json --out saw.fit"), 1);
    assert_in(err, bad[i].place);
    assert_int_equal(visible_files(), 1);
  }
}

/* ---- the commands -------------------------------------------------------------------------------------------------------------------------------------------- */

static void test_check(void **state)
{
  (void)state;
  expect(run("check"), 0);
  assert_string_equal(out, saw_model.check_text);
  expect(run("check --format dot"), 0);
  assert_string_equal(out, saw_model.check_dot);
  write_text("data.json", "{\"x\": [1, 2, 3]}");
  expect(run("check data.json"), 0);
  assert_in(out, "N = 3");
  expect(run("check data.json --json"), 0);
  json_t *root = parse(out);
  assert_int_equal(json_integer_value(json_object_get(json_object_get(json_object_get(root, "data"), "sizes"), "N")), 3);
  json_decref(root);
}

static void test_simulate(void **state)
{
  (void)state;
  expect(run("simulate --set N=50 --set theta=3.4 --seed 3 --out data.json --truth truth.json"), 0);
  assert_string_equal(out, "");
  read_text("data.json", out, sizeof out);
  json_t *data = parse(out);
  read_text("truth.json", out, sizeof out);
  json_t *truth = parse(out);
  assert_int_equal(json_integer_value(json_object_get(data, "N")), 50);
  assert_int_equal(json_array_size(json_object_get(data, "x")), 50); /* x[0] has a default: no part of the array */
  assert_null(json_object_get(data, "x[0]"));
  assert_int_equal(json_array_size(json_object_get(truth, "z")), 50);
  assert_true(number(truth, "theta") == 3.4);
  json_decref(data);
  json_decref(truth);
  expect(run("simulate --set N=50 --set theta=3.4 --seed 3"), 0);
  char *again = strdup(out);
  read_text("data.json", out, sizeof out);
  assert_string_equal(again, out);
  free(again);
  expect(run("simulate --set N=50 --set theta=3.4 --seed 4 --set x[0]=100"), 0);
  data = parse(out);
  assert_true(number(data, "x[0]") == 100);
  assert_true(json_number_value(json_array_get(json_object_get(data, "x"), 0)) > 50);
  json_decref(data);
  expect(run("simulate"), 1);
  assert_in(err, "'N'");
}

static void test_fit(void **state)
{
  (void)state;
  double elbo[3];
  static const char *const methods[] = {"fvi", "avi", "const"};
  simulate_and_fit();
  for (int i = 0; i < 3; i++) {
    expect(run("fit data.json --method %s --json", methods[i]), 0);
    json_t *root = parse(out);
    static const char *const keys[] = {"model",
                                       "method",
                                       "elbo",
                                       "elbo_se",
                                       "elbo_per_observation",
                                       "iterations",
                                       "seconds",
                                       "converged",
                                       "criterion",
                                       "stopped",
                                       "variational_parameters",
                                       "gradient_norm",
                                       "khat",
                                       "seed",
                                       "threads",
                                       "globals",
                                       "params",
                                       "inference"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
      if (!json_object_get(root, keys[k])) fail_msg("no key %s", keys[k]);
    }
    assert_string_equal(json_string_value(json_object_get(root, "method")), methods[i]);
    elbo[i] = number(root, "elbo");
    const json_t *theta = json_object_get(json_object_get(root, "globals"), "theta");
    if (i < 2) assert_true(fabs(number(theta, "mean") - 3.4) < 6 * number(theta, "sd") + 0.5);
    json_decref(root);
  }
  assert_true(elbo[1] <= elbo[0] + 1e-3 && elbo[0] - elbo[1] < 1);
  assert_true(elbo[2] < elbo[1] - 50);
  expect(run("fit data.json"), 0);
  assert_in(out, "A-VI"); /* the verdict closes */
  assert_in(out, "ELBO");
  assert_in(out, "theta");
  assert_in(out, "health");
  assert_in(err, "--out FILE keeps it");
}

static void test_trace_and_unconverged(void **state)
{
  (void)state;
  simulate_and_fit();
  expect(run("fit data.json --method avi --optimizer adam --max-iter 20 --trace trace.csv --json"), 0);
  json_t *root = parse(out);
  assert_true(json_is_false(json_object_get(root, "converged")));
  assert_string_equal(json_string_value(json_object_get(root, "stopped")), "max-iter");
  json_decref(root);
  assert_in(err, "warning: not converged");
  read_text("trace.csv", out, sizeof out);
  assert_memory_equal(out, "iteration,seconds,elbo,gradient_norm\n", 37);
  int lines = 0;
  for (const char *p = out; (p = strchr(p, '\n')); p++) lines++;
  assert_true(lines >= 20);
}

/* The same seed gives the same file, bit for bit, for any number of threads. */
static void test_threads(void **state)
{
  (void)state;
  static char one[1 << 20], two[1 << 20];
  simulate_and_fit();
  for (int i = 0; i < 2; i++) {
    expect(run("fit data.json --method %s --threads 1 --out one.fit --quiet", i ? "fvi" : "avi"), 0);
    expect(run("fit data.json --method %s --threads 2 --out two.fit --quiet", i ? "fvi" : "avi"), 0);
    memset(one, 0, sizeof one);
    memset(two, 0, sizeof two);
    read_text("one.fit", one, sizeof one);
    read_text("two.fit", two, sizeof two);
    assert_memory_equal(one, two, sizeof one);
  }
}

static void test_infer(void **state)
{
  (void)state;
  simulate_and_fit();
  write_text("new.csv", "x\n0.5\n-1\n7\n");
  expect(run("infer saw.fit new.csv"), 0);
  assert_memory_equal(out, "n,z.mean,z.sd\n1,", 16);
  assert_in(err, "one forward pass");
  expect(run("infer saw.fit new.csv --out z.csv --json --quiet"), 0);
  assert_string_equal(err, "");
  json_t *root = parse(out);
  assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "elements"), "z")), 3);
  json_decref(root);
  expect(run("infer saw.fit new.csv --out results/ --latent z"), 0);
  char once[512], twice[512];
  read_text("z.csv", once, sizeof once);
  read_text("results/z.csv", twice, sizeof twice);
  assert_string_equal(once, twice);
  unlink("results/z.csv");
  expect(run("infer saw.fit new.csv --latent theta"), 2);
  expect(run("infer saw.fit --set N=3"), 1);
  assert_in(err, "'x' is missing");
}

/* Mean, sd and number of the values of one column of the CSV in `out`. */
static int column(const char *name, double *mean, double *sd)
{
  char *copy = strdup(out), *rest = copy, *line;
  int at = -1, n = 0;
  double sum = 0, squares = 0;
  while ((line = strsep(&rest, "\n"))) {
    char *field, *fields = line;
    if (!*line || *line == '#') continue;
    for (int k = 0; (field = strsep(&fields, ",")); k++) {
      if (n == 0 && at < 0 && strcmp(field, name) == 0)
        at = k;
      else if (k == at && n >= 1)
        sum += atof(field), squares += atof(field) * atof(field);
    }
    if (at < 0) break;
    n++;
  }
  n--;
  *mean = sum / n;
  *sd = sqrt(squares / n - *mean * *mean);
  free(copy);
  return n;
}

static void test_sample_and_predict(void **state)
{
  (void)state;
  double mean, sd, p, g;
  simulate_and_fit();
  expect(run("fit data.json --method avi --hidden 4 --json --quiet"), 0);
  json_t *root = parse(out);
  double theta = number(json_object_get(json_object_get(root, "globals"), "theta"), "mean"), elbo = number(root, "elbo");
  json_decref(root);
  expect(run("sample saw.fit data.json --draws 300 --seed 5 --log-lik"), 0);
  assert_in(out, "\nlp__,log_p__,log_g__,theta,z.1,z.2,");
  assert_in(out, ",z.200,log_lik.1,");
  assert_int_equal(column("theta", &mean, &sd), 300);
  assert_true(fabs(mean - theta) < 5 * sd / sqrt(300));
  column("log_p__", &p, &sd);
  column("log_g__", &g, &sd);
  assert_true(fabs(p - g - elbo) < 3); /* E_q (log p - log q) is the ELBO */
  char *first = strdup(out);
  expect(run("sample saw.fit data.json --draws 300 --seed 5 --log-lik --threads 1"), 0);
  assert_string_equal(first, out);
  free(first);
  expect(run("predict saw.fit data.json --draws 50 --out rep.csv --json"), 0);
  read_text("rep.csv", out, sizeof out);
  assert_in(out, "\nx.1,x.2,");
  assert_int_equal(column("x.201", &mean, &sd), 50);
  assert_true(sd > 0.5);
  column("x.1", &mean, &sd);
  assert_true(mean == 0 && sd == 0); /* x[0] is known */
}

static void test_grad(void **state)
{
  (void)state;
  simulate_and_fit();
  expect(run("grad data.json --at truth.json --check"), 0);
  json_t *root = parse(out);
  assert_true(number(root, "max_relative_error") < 1e-6);
  assert_true(number(root, "log_joint") == number(root, "log_joint_unconstrained"));
  assert_int_equal(json_array_size(json_object_get(root, "gradient_unconstrained")), 201);
  assert_int_equal(json_array_size(json_object_get(json_object_get(root, "gradient"), "z")), 200);
  json_decref(root);
  write_text("data.json", "{\"x\": [1]}");
  expect(run("grad data.json"), 0);
  root = parse(out);
  /* theta = z = 0, x = (0, 1): normal(0 | 0, 10) normal(0 | 0, 1) normal(1 | 0, 1) */
  assert_true(fabs(number(root, "log_joint") - (-1.5 * FIXTURE_LOG_2PI - log(10) - 0.5)) < 1e-12);
  assert_true(fabs(number(json_object_get(root, "gradient"), "theta") - 0.75) < 1e-12);
  json_decref(root);
  write_text("at.json", "{\"theta\": 1, \"z\": [2, 3]}");
  expect(run("grad data.json --at at.json"), 1);
  assert_in(err, "at.json: z: has 2, where the model wants 1");
}

/* ---- interrupts, checkpoints ----------------------------------------------------------------------------------------------------------------------------------- */

static void test_interrupt(void **state)
{
  (void)state;
  simulate_and_fit();
  for (int i = 0; i < 2; i++) {
    pid_t child = start("fit data.json --method avi --optimizer adam --max-iter 1000000000 --tol 1e-300 --out long.fit --json --checkpoint "
                        "c.fit --every 0.05");
    usleep(400000);
    kill(child, i ? SIGTERM : SIGINT);
    int status = finish(child);
    expect(status, i ? 143 : 130);
    json_t *root = parse(out);
    assert_string_equal(json_string_value(json_object_get(root, "stopped")), "signal");
    json_decref(root);
    PgmFit *fit;
    PgmError error = {0};
    if (pgm_fit_read(&fit, &saw_model, "long.fit", &error) != PGM_OK) fail_msg("%s", error.text);
    assert_false(fit->converged);
    pgm_fit_free(fit);
    expect(run("infer long.fit data.json --quiet"), 0);
    expect(run("fit data.json --resume c.fit --max-iter 5 --out more.fit --quiet"), 0);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_help, open_directory, close_directory),
      cmocka_unit_test_setup_teardown(test_usage_errors, open_directory, close_directory),
      cmocka_unit_test_setup_teardown(test_io_errors, open_directory, close_directory),
      cmocka_unit_test_setup_teardown(test_bad_data, open_directory, close_directory),
      cmocka_unit_test_setup_teardown(test_check, open_directory, close_directory),
      cmocka_unit_test_setup_teardown(test_simulate, open_directory, close_directory),
      cmocka_unit_test_setup_teardown(test_fit, open_directory, close_directory),
      cmocka_unit_test_setup_teardown(test_trace_and_unconverged, open_directory, close_directory),
      cmocka_unit_test_setup_teardown(test_threads, open_directory, close_directory),
      cmocka_unit_test_setup_teardown(test_infer, open_directory, close_directory),
      cmocka_unit_test_setup_teardown(test_sample_and_predict, open_directory, close_directory),
      cmocka_unit_test_setup_teardown(test_grad, open_directory, close_directory),
      cmocka_unit_test_setup_teardown(test_interrupt, open_directory, close_directory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
