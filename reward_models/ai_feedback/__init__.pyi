from .constitution import (
    Constitution as Constitution,
    read_constitution as read_constitution,
    support_desk_constitution as support_desk_constitution,
)
from .judge_report import read_human_pairs as read_human_pairs, report_judge as report_judge
from .labels import judge_pairs as judge_pairs, label_rows as label_rows, mixed_rows as mixed_rows
from .revision import (
    demonstration_rows as demonstration_rows,
    preference_rows as preference_rows,
    revise_all as revise_all,
)
from .rules import register_rule as register_rule
