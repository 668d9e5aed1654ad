from .endpoint import Endpoint as Endpoint, EndpointConfig as EndpointConfig
from .endpoint_judge import EndpointJudge as EndpointJudge
from .language_model import LanguageModelJudge as LanguageModelJudge
from .questions import (
    Draft as Draft,
    Judge as Judge,
    JudgeQuestion as JudgeQuestion,
    JudgeVerdict as JudgeVerdict,
    Reviser as Reviser,
    Revision as Revision,
)
from .requests import LanguageModelReviser as LanguageModelReviser
from .rule_judge import RuleJudge as RuleJudge
