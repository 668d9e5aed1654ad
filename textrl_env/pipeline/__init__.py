"""The stages of RLHF as functions: options in, files in a run's folder and metrics out; nothing is printed.

`run_sft(SFTOptions(n_demonstrations=500), Path("runs/mine"), seed=0)` trains and returns the metrics. Every stage finds
what it builds on in the run's folder, or where its options say. `textrl_env.pipeline.runs.run_stage` runs a stage and
writes its metrics and manifest down as well, as the command `textrl` does.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
