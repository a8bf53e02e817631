"""Views of audit records: console tables, figures, the HTML report and W&B panels.

Nothing is imported here, because each view needs its own heavy library: import ``lipreg.reporting.tables``,
``figures``, ``html`` or ``panels``.
"""
