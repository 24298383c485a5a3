"""The catalogue of Med-MAT as two tables: its 53 subsets and the 109 data sets that they were merged from.

Facts from arXiv 2412.20070 v2 (tables of the appendix) and its public README. Three columns of subsets.csv are inferred
and say so here: `task_tags` (which further tasks a subset counts as; with them the two-source rule gives every row of
the paper's Table 3), `num_options` (from the printed accuracy of the untouched model: about a half means two options,
a third three) and `num_test` (50 questions for each option). `num_train` is the paper's cap of 3,000, not a count.
Data sets 43, 64 and 83 belong to no subset; 44 is listed under two.
"""
