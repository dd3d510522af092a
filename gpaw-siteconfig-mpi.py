# GPAW's build settings for `make MPI=1`, read through GPAW_CONFIG by scripts/setup.sh.
mpi = True
compiler = 'mpicxx'
fftw = True
libraries = ['xc', 'openblas', 'fftw3']
