from .bad_rows import (
    SKIP_HINT as SKIP_HINT,
    Fault as Fault,
    OnBadRow as OnBadRow,
    Row as Row,
    check_rows as check_rows,
    collect as collect,
    require_columns as require_columns,
)
from .files import parse_rows as parse_rows
from .tables import (
    drop_unsubmitted as drop_unsubmitted,
    place_rows as place_rows,
    read_each as read_each,
    read_rows as read_rows,
)
