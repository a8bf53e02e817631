"""Measurements: times with tightness beside them, written as JSON with the environment they were taken in."""
