"""What one unit of a network's output means, told by points that are not audited: the scale of a Lipschitz constant.

Logits that are divided by 100 make the same decisions with 0.01 of the constant. So a constant of logits is read in the
units in which they are probabilities: T * E, T the factor for which softmax(T * logits) predicts held-out labels best. A
constant of regression is read in standard deviations: E * (scale of the inputs) / (scale of the targets).

Source: Guo, Pleiss, Sun & Weinberger 2017 (temperature scaling; T here is one over their temperature).
"""

from lipreg.calibration.points import CalibrationPoints, among, calibrate, distinct_points, keys

__all__ = ["CalibrationPoints", "among", "calibrate", "distinct_points", "keys"]
