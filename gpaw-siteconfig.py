# GPAW's build settings for the serial default. Pinned so that an MPI compiler that
# happens to be on PATH does not silently change the build (see `make MPI=1`).
mpi = False
compiler = 'g++'
fftw = False
libraries = ['xc', 'openblas']
