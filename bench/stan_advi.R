# Stan's ADVI (Kucukelbir et al. 2017) on the linear model, mean-field, by rstan.
#   Rscript stan_advi.R DATA.json  ->  seconds to compile the model, seconds of a fit with default settings, its mean of theta, seconds of a fit with tol_rel_obj 1e-4, its mean
suppressMessages(library(rstan))
if (!nzchar(rstan_options("boost_lib"))) invisible(rstan_options(boost_lib = "/usr/include")) # Debian's r-cran-bh is empty: its headers are the system's
code <- "
data { int N; vector[N] x; }
parameters { real theta; vector[N] z; }
model { theta ~ normal(0, 100); z ~ normal(0, 1); x ~ normal(theta + 1.155 * z, 2.43); }"
text <- paste(readLines(commandArgs(TRUE)[1]), collapse = " ")
x <- as.numeric(strsplit(sub(".*\"x\"[^[]*\\[([^]]*)\\].*", "\\1", text), ",")[[1]])
seconds <- function(run) system.time(run)[["elapsed"]]
invisible(capture.output({
  compiling <- seconds(model <- stan_model(model_code = code))
  fitted <- function(...) {
    took <- seconds(fit <- vb(model, data = list(N = length(x), x = x), seed = 1, pars = "theta", output_samples = 100, importance_resampling = FALSE, ...))
    c(took, mean(extract(fit, "theta")$theta))
  }
  default <- fitted()
  tight <- fitted(tol_rel_obj = 1e-4, iter = 50000)
}))
cat(compiling, default, tight, "\n")
