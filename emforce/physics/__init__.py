"""Physics of emforce: numpy and scipy only, no input or output, no global state.

lcao < fermi < embedding < perturbation < wind. Inside: eV, Angstrom, e = hbar = 1.
"""
