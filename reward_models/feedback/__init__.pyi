from .desk.assignment import DeskConfig as DeskConfig
from .desk.desk import Desk as Desk
from .desk.terminal import label_in_terminal as label_in_terminal
from .exchange.training_rows import export_preferences as export_preferences, export_rankings as export_rankings
from .raters.comparisons import read_judgements as read_judgements
from .raters.report import RaterReport as RaterReport, report_raters as report_raters
from .store.database import Store as Store
from .store.items import Item as Item, read_items as read_items
from .store.label_log import LabelLog as LabelLog
