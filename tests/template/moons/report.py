"""python -m moons.report runs"""

import sys

import lipreg
from lipreg.reporting.html import write_runs_report
from lipreg.reporting.sources import read_sources

if __name__ == "__main__":
    print("lipreg", lipreg.__version__, lipreg.__file__)
    print(write_runs_report(read_sources(sys.argv[1]), "report.html"))
