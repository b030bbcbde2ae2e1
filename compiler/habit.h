/* What users of Stan, BUGS, R and Python write out of habit, and what to write instead. */
#ifndef PGMC_HABIT_H
#define PGMC_HABIT_H

#include "parse.h"

/* Hints for names that this language does not have: "here it is normal(mu, sigma)"; NULL when nothing is known. */
const char *habit_function(const char *name);
const char *habit_distribution(const char *name);
const char *habit_type(const char *name);
const char *habit_constant(const char *name);

/* Reports the syntax error at token `at` of the statement that begins at token `begin`, if it is a habit; else false. The list ends with
 * a token of kind 0. */
bool habit_report(const TokenVec *tokens, int begin, int at);
/* The same for a statement that begins with a name, which no statement does: always reported. */
void habit_report_statement(const TokenVec *tokens, int begin);
/* Is the name at token i, first on its line, the target of a statement without its role (`y[i] ~ ...`)? */
bool habit_target(const TokenVec *tokens, int i);

#endif
