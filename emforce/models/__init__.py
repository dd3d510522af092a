"""What consumes the parameters: stress in a line, a wire's profile, kinetic Monte Carlo, the companion experiments.

Small models on existing solvers. They take numbers from rows of the database, never the other way round. F = e Z* E
everywhere: Z* > 0 pushes atoms along the field and the conventional current, against the electrons.
"""
