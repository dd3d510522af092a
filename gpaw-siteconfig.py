# GPAW's build settings for the serial default, read through GPAW_CONFIG by scripts/setup.sh.
# GPAW switches to MPI by itself when an MPI compiler is on PATH; the first line forbids that.
# (`make MPI=1 ...` builds with gpaw-siteconfig-mpi.py, into a virtual environment of its own.)
mpi = False
compiler = 'g++'
fftw = False
libraries = ['xc', 'openblas']
