from .folder import (
    encode_fitting_prompts as encode_fitting_prompts,
    find_policy as find_policy,
    read_json as read_json,
    require_model as require_model,
    require_path as require_path,
    require_start as require_start,
    write_json as write_json,
    write_jsonl as write_jsonl,
)
from .record import (
    StageStoppedError as StageStoppedError,
    command_line as command_line,
    forget_results as forget_results,
    run_stage as run_stage,
)
