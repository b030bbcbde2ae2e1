#ifndef PGMC_VERSION
#define PGMC_VERSION "0.1.0"
#endif
