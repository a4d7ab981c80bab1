"""The process from which tests fork theirs. There is one, whichever tests ask first, and it has imported what any of them needs."""

import multiprocessing

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["seg.cli", "seg.configure.compose", "seg.configure.config", "seg.stages.train", "albumentations"])
