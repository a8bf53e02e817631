"""python -m moons.report runs"""

import sys

import lipreg
from lipreg.reporting import report

if __name__ == "__main__":
    print("lipreg", lipreg.__version__, lipreg.__file__)
    print(report(sys.argv[1], "report.html"))
