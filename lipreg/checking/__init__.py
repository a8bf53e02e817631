"""The checker of certificates: a small program that re-derives both ends of a claimed interval, in whole numbers.

It shares nothing with what searched: numpy and the standard library are all that it imports.
``docs/certificates.md`` says what a certificate holds and why what is checked here proves the claim.
"""

from lipreg.checking.file import FORMAT, VERSION, WrittenCertificate, read
from lipreg.checking.refusal import Damaged, NotShown, Refused
from lipreg.checking.verdict import CHECKER, CheckProgress, Verdict, check

__all__ = [
    "CHECKER",
    "FORMAT",
    "VERSION",
    "CheckProgress",
    "Damaged",
    "NotShown",
    "Refused",
    "Verdict",
    "WrittenCertificate",
    "check",
    "read",
]
