"""Two tanh policies, 64-64, cloned from laws of control, and how steep they are, certified: python -m benchmarks.policies.

- ``pendulum``: torque of a PD law with a target angle that saturates, tanh(2 sin(target - angle) - 0.8 rate), of
  (angle / pi, rate / 4, target), over all states in [-1, 1]^3.
- ``masses``: two forces on four masses in a row between springs and walls, an LQR (unit weights) that saturates, tanh(-K x),
  of four positions and four velocities, over states in [-0.05, 0.05]^8 about rest.

``--train`` clones them anew (4000 steps of Adam on uniform states of [-1, 1]^n, twenty seconds) and writes the weights
beside this file. The table has the interval that ``branch_and_bound`` proves of the operator norm of the Jacobian from
l2 to l2, in ``--seconds`` a policy or to a gap of 1 %, beside closed forms.
"""
