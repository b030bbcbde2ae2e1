/* Tree -> Model: names, roles, types, ranges, indices; everything that can be wrong with a model and is seen without data. */
#ifndef PGMC_RESOLVE_H
#define PGMC_RESOLVE_H

#include "ast.h"
#include "model.h"

/* Problems go to diag. The result is only meaningful while diag_errors() is 0; NULL otherwise. */
Model *resolve(const Ast *ast);

#endif
