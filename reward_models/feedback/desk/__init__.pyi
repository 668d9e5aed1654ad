from .active_selection import score_disagreement as score_disagreement
from .assignment import DeskConfig as DeskConfig
from .dashboard import DashboardFigures as DashboardFigures, compute_dashboard as compute_dashboard
from .desk import AnswerConflictError as AnswerConflictError, Desk as Desk, DeskQuestion as DeskQuestion
from .terminal import label_in_terminal as label_in_terminal
