from .card_page import write_card as write_card
from .page import learning_curve as learning_curve, write_report as write_report
