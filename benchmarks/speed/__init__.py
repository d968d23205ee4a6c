"""How fast rbkernel is, beside papermill, nbclient and the bare work: ``make bench``."""
