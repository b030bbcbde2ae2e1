/* Checks over several statements together. */
#include "resolver.h"

void check_wellformed(Resolver *r) { (void)r; }
