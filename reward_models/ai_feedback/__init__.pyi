from .constitution import (
    Constitution as Constitution,
    read_constitution as read_constitution,
    support_desk_constitution as support_desk_constitution,
)
from .endpoint import Endpoint as Endpoint, EndpointConfig as EndpointConfig
from .endpoint_judge import EndpointJudge as EndpointJudge
from .human_pairs import HumanPairs as HumanPairs, read_human_pairs as read_human_pairs
from .judge import Judge as Judge, Judged as Judged, questions_of as questions_of
from .judge_report import (
    JudgeReport as JudgeReport,
    Slice as Slice,
    agreement_by_slice as agreement_by_slice,
    position_bias as position_bias,
)
from .labels import (
    by_pair as by_pair,
    judge_all as judge_all,
    label_rows as label_rows,
    margin_of as margin_of,
    mixed_rows as mixed_rows,
)
from .language_model_judge import LanguageModelJudge as LanguageModelJudge, identity_of as identity_of
from .requests import Request as Request, without_control_tokens as without_control_tokens
from .revision import (
    LanguageModelReviser as LanguageModelReviser,
    Reviser as Reviser,
    demonstration_rows as demonstration_rows,
    preference_rows as preference_rows,
    revise_all as revise_all,
)
from .rule_judge import RuleJudge as RuleJudge
