from .findings import (
    SEVERITIES as SEVERITIES,
    Effect as Effect,
    Evidence as Evidence,
    Finding as Finding,
    Outcome as Outcome,
    json_ready as json_ready,
    pass_or_fail as pass_or_fail,
)
from .runner import Answer as Answer, Check as Check, check as check, run_checks as run_checks
