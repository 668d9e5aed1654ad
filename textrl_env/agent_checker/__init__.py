"""Is this algorithm right? A ladder of tiny worlds with exact answers, for any agent; see `check_agent`."""

from textrl_env.agent_checker.check import MakeAgent, check_agent
from textrl_env.agent_checker.ladder import LADDER
from textrl_env.agent_checker.measuring import Agent
from textrl_env.agent_checker.report import AgentCheckError, Report, RungResult
from textrl_env.agent_checker.rung import Rung

__all__ = ["LADDER", "Agent", "AgentCheckError", "MakeAgent", "Report", "Rung", "RungResult", "check_agent"]
