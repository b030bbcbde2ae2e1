/* The table of functions; see func.def. */
#include "func.h"
#include <stddef.h>
#include <string.h>

const FuncInfo func_info[FUNC_COUNT] = {
#define FUNC(name, class_, min, max, arguments, meaning) {#name, FC_##class_, min, max, arguments},
#include "func.def"
#undef FUNC
};

int func_find(const char *name)
{
  for (int i = 0; i < FUNC_COUNT; i++)
    if (!strcmp(func_info[i].name, name)) return i;
  return -1;
}
