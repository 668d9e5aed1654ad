from .algorithms import (
    PPOOptions as PPOOptions,
    TrainOptions as TrainOptions,
    run_ppo as run_ppo,
    run_train as run_train,
)
from .dpo import DPOOptions as DPOOptions, run_dpo as run_dpo
from .evaluation import (
    EvaluationOptions as EvaluationOptions,
    compare as compare,
    name_models as name_models,
    run_evaluation as run_evaluation,
)
from .generation import (
    EndTokenOptions as EndTokenOptions,
    GenerationOptions as GenerationOptions,
    check_sampling as check_sampling,
    choose_sampling as choose_sampling,
    run_generation as run_generation,
)
from .policy_inputs import PolicyOptions as PolicyOptions
from .preferences import PreferencesOptions as PreferencesOptions, run_preferences as run_preferences
from .quickstart import (
    QuickstartOptions as QuickstartOptions,
    rehearse_quickstart as rehearse_quickstart,
    run_quickstart as run_quickstart,
)
from .rehearsal import Rehearsal as Rehearsal, rehearse as rehearse
from .reward_model import RewardModelOptions as RewardModelOptions, run_reward_model as run_reward_model
from .sft import SFTOptions as SFTOptions, run_sft as run_sft
from .summary import write_run_report as write_run_report
