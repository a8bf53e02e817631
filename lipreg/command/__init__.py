"""The console command ``lipreg``: files and flags in, the public functions, tables out."""
