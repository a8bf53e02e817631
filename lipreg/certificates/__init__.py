"""Certificates: files from which ``lipreg.checking`` re-derives both ends of an interval, and how they are written."""

from lipreg.certificates.points import Certificates, certificates_of
from lipreg.certificates.refusal import NoCertificate
from lipreg.certificates.writing import PlainCertificate, certificate_of

__all__ = ["Certificates", "NoCertificate", "PlainCertificate", "certificate_of", "certificates_of"]
