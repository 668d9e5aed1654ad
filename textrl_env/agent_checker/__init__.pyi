from .check import Agent as Agent, MakeAgent as MakeAgent, check_agent as check_agent
from .ladder import LADDER as LADDER
from .report import AgentCheckError as AgentCheckError, AgentReport as AgentReport, RungResult as RungResult
from .rung import Rung as Rung
