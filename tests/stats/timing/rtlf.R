# RTLF's test from its description (USENIX Security 2024): deciles of type 2, thresholds at 1 - alpha / 9 by resampling each
# class against itself, the larger of both. Arguments: file with columns class (a, b) and ns; alpha; resamples.
arguments <- commandArgs(trailingOnly = TRUE)
table <- read.csv(arguments[1])
alpha <- as.numeric(arguments[2])
resamples <- as.integer(arguments[3])
set.seed(1)
levels <- (1:9) / 10
ten <- function(x) quantile(x, levels, names = FALSE, type = 2)
classes <- list(table$ns[table$class == "a"], table$ns[table$class == "b"])
n <- min(lengths(classes))
limit <- sapply(classes, function(x) {
  gaps <- replicate(resamples, abs(ten(sample(x, n, TRUE)) - ten(sample(x, n, TRUE))))
  apply(gaps, 1, quantile, probs = 1 - alpha / 9, names = FALSE, type = 2)
})
cat(sprintf("%.17g %.17g\n", abs(ten(classes[[1]]) - ten(classes[[2]])), apply(limit, 1, max)), sep = "")
