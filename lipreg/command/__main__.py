"""``python -m lipreg.command``, for an interpreter whose folder of programs is not on the path."""

from lipreg.command.main import main

raise SystemExit(main())
