from .card_page import write_card as write_card
from .run_page import write_learning_curve as write_learning_curve, write_report as write_report
