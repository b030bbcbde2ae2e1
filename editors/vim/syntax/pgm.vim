" Vim syntax of .pgm models. Made by grammar/tables.c from the tables of the compiler: do not edit.
if exists('b:current_syntax')
  finish
endif

syntax case match
syntax keyword pgmRole input latent global marginal observed param let
syntax keyword pgmStatement model factor plate amortize in

" words that mean something in their place only
syntax match pgmBound /\<\%(lower\|upper\)\ze\s*=/
syntax match pgmBound /\<T\ze\s*\[/
syntax match pgmStatement /\<from\>\ze\s\+\h/
syntax match pgmType /\%(:\s*\)\@20<=\<\%(real\|int\|vector\|row_vector\|matrix\|simplex\|ordered\|positive_ordered\|cov_matrix\|corr_matrix\|cholesky_factor_corr\)\>/
syntax match pgmDistribution /\%(\~\s*\)\@20<=\<\%(flat\|normal\|std_normal\|student_t\|cauchy\|double_exponential\|logistic\|gumbel\|skew_normal\|lognormal\|gamma\|inv_gamma\|chi_square\|inv_chi_square\|exponential\|weibull\|pareto\|beta\|uniform\|von_mises\|multi_normal\|multi_normal_cholesky\|multi_student_t\|dirichlet\|lkj_corr_cholesky\|wishart\|bernoulli\|bernoulli_logit\|binomial\|binomial_logit\|poisson\|poisson_log\|neg_binomial_2\|neg_binomial_2_log\|geometric\|categorical\|categorical_logit\|multinomial\|beta_binomial\|ordered_logistic\)\>\ze\s*(/
syntax match pgmFunction /\<\%(flat\|normal\|std_normal\|student_t\|cauchy\|double_exponential\|logistic\|gumbel\|skew_normal\|lognormal\|gamma\|inv_gamma\|chi_square\|inv_chi_square\|exponential\|weibull\|pareto\|beta\|uniform\|von_mises\|multi_normal\|multi_normal_cholesky\|multi_student_t\|dirichlet\|lkj_corr_cholesky\|wishart\|bernoulli\|bernoulli_logit\|binomial\|binomial_logit\|poisson\|poisson_log\|neg_binomial_2\|neg_binomial_2_log\|geometric\|categorical\|categorical_logit\|multinomial\|beta_binomial\|ordered_logistic\)_\%(lpdf\|lpmf\|lcdf\|lccdf\)\>/
syntax match pgmFunction /\<\%(exp\|log\|log1p\|log1m\|expm1\|exp2\|log2\|log10\|log1p_exp\|log1m_exp\|sqrt\|cbrt\|square\|inv\|inv_sqrt\|inv_square\|abs\|fabs\|floor\|ceil\|round\|sin\|cos\|tan\|asin\|acos\|atan\|sinh\|cosh\|tanh\|asinh\|acosh\|atanh\|inv_logit\|logit\|log_inv_logit\|log1m_inv_logit\|inv_cloglog\|softplus\|relu\|leaky_relu\|gelu\|silu\|erf\|erfc\|Phi\|Phi_approx\|inv_Phi\|lgamma\|tgamma\|digamma\|trigamma\|lbeta\|lchoose\|pow\|atan2\|hypot\|fmin\|fmax\|fdim\|fma\|lmultiply\|log_diff_exp\|log_mix\|min\|max\|log_sum_exp\|sum\|prod\|mean\|sd\|variance\|dot_self\|norm1\|norm2\|dot\|dot_product\|distance\|squared_distance\|softmax\|log_softmax\|cumulative_sum\|reverse\|diag_matrix\|diagonal\|identity_matrix\|rep_vector\|rep_row_vector\|rep_matrix\|to_vector\|to_row_vector\|append_row\|append_col\|transpose\|add_diag\|diag_pre_multiply\|diag_post_multiply\|crossprod\|tcrossprod\|quad_form\|trace\|log_det\|log_determinant\|inverse\|inverse_spd\|cholesky_decompose\|mdivide_left\|mdivide_left_spd\|mdivide_left_tri_low\|rows\|cols\|num_elements\|pi\|e\|sqrt2\|positive_infinity\|negative_infinity\|present\)\>\ze\s*(/

syntax match pgmNumber /\<\d\+\%(\.\d\+\)\=\%([eE][-+]\=\d\+\)\=\>/
syntax match pgmOperator /[-+*\/^!?:=<>~|&']/
syntax match pgmOperator /\.\./
syntax match pgmOperator /\.[*\/]/
syntax keyword pgmTodo TODO FIXME contained
syntax match pgmComment /\/\/.*/ contains=pgmTodo,@Spell
syntax match pgmComment /#.*/ contains=pgmTodo,@Spell
syntax region pgmComment start=/\/\*/ end=/\*\// contains=pgmTodo,@Spell

highlight default link pgmRole StorageClass
highlight default link pgmStatement Statement
highlight default link pgmBound Special
highlight default link pgmType Type
highlight default link pgmDistribution Function
highlight default link pgmFunction Function
highlight default link pgmNumber Number
highlight default link pgmOperator Operator
highlight default link pgmTodo Todo
highlight default link pgmComment Comment

let b:current_syntax = 'pgm'
