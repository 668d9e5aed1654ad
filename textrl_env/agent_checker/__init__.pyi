from .check import MakeAgent as MakeAgent, check_agent as check_agent
from .ladder import LADDER as LADDER
from .measuring import Agent as Agent
from .report import AgentCheckError as AgentCheckError, Report as Report, RungResult as RungResult
from .rung import Rung as Rung
