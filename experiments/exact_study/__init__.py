"""The study of penalties by exact constants at equal accuracy; its design is docs/study_design.md.

python -m experiments.exact_study          # does what the committed results have not yet, and goes on after any end
python -m experiments.exact_study.views    # writes docs/study_results.md and its figures from the committed results
"""
