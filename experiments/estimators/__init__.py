"""Every estimator on the same networks, points, radii and norms: how tight each is, and what it costs.

networks.py     the networks and their reference points, trained on the spot or from a checkpoint
questions.py    what is asked of which estimators, and who refuses
course.py       one question in worker processes, cell by cell; what is finished is kept
views.py        tables, figures and files from the records
page.py         the tables and figures of docs/estimators.md from the committed results
"""
